"""Neighbours that `lqtse-cache join` stored, where they are what a search would find.

They are, when they were found by an exact search in the very data that the cache holds now, are at
least as many as the strategy looks at, and were centred by the same means if the strategy centres,
or not at all if it does not: then the rows are the same and the scores are bit-equal, since both
come from the same float32 vectors. Otherwise the neighbours are searched for anew, and the run says
why.

Letters: n clips, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from cache_store.cache import Cache
    from cache_store.clips import ClipTable
    from trainer.conditioning.base import Strategy

_EXACT = ("exact", "flat")
_COLUMNS = ("neighbour_rows", "neighbour_scores")


@dataclass(frozen=True)
class StoredNeighbours:
    """The nearest captions of every clip, nearest first.

    Attributes:
        rows: Rows of the cache, int64 [n, K].
        scores: Their cosine to the clip, float32 [n, K].
    """

    rows: Tensor
    scores: Tensor


def stored_neighbours(
    clips: ClipTable, cache: Cache, strategy: Strategy, device: str = "cpu"
) -> tuple[StoredNeighbours | None, str]:
    """The stored neighbours that a strategy can use.

    Args:
        clips: The clips, with the columns and the metadata of their manifest.
        cache: What the strategy retrieves from.
        strategy: Says how many it looks at, and whether it centres the search.
        device: Where the run would search.

    Returns:
        The neighbours, or None; and a line for the user: that they are used, or why they are not;
        "" where there is nothing to say, since none are stored or none are needed.
    """
    import torch

    if not strategy.neighbours or any(name not in clips.columns for name in _COLUMNS):
        return None, ""
    rows, scores = (np.asarray(clips.columns[name]) for name in _COLUMNS)
    wanted = min(strategy.neighbours, len(cache))
    reason = _reason(clips, cache, strategy, rows, wanted)
    if (
        not reason
        and strategy.centred
        and clips.facts.get("lqtse.centring") != _centring(clips, cache, device)
    ):
        reason = "they were centred by other means than those of these clips and captions"
    if reason:
        return None, f"the neighbours stored with the clips are not used: {reason}"
    found = StoredNeighbours(
        torch.from_numpy(rows[:, :wanted].astype(np.int64)),
        torch.from_numpy(scores[:, :wanted].astype(np.float32)),
    )
    return found, "the neighbours stored with the clips are used"


def _reason(
    clips: ClipTable, cache: Cache, strategy: Strategy, rows: np.ndarray, wanted: int
) -> str:
    """Why stored neighbours are not what a search would find now; "" if they are."""
    facts = clips.facts
    if facts.get("lqtse.data_hash") != cache.manifest.data_hash():
        return "they were found in other data than the cache holds now"
    if facts.get("lqtse.centred") != ("yes" if strategy.centred else "no"):
        return "the search is centred in one and not in the other"
    if facts.get("lqtse.search") not in _EXACT:
        return "they were found by an approximate search"
    if rows.ndim != 2 or rows.shape[1] < wanted:
        return f"they are fewer than the {wanted} that the strategy looks at"
    if len(cache) > int(facts.get("lqtse.captions", "0")):
        return "captions came back that were removed then"
    if not np.isin(rows[:, :wanted], cache.live_rows).all():
        return "some of these captions were removed"
    return ""


def _centring(clips: ClipTable, cache: Cache, device: str) -> str:
    """What the run's own search would take off, as a joined file tells it."""
    import torch

    from cache_store.index.centring import centred_dtype, mean_of
    from cache_store.index.means import digest_of

    index = cache.exact_index(device)
    text = mean_of(index.matrix, index.live).cpu().numpy()
    audio = mean_of(torch.from_numpy(clips.embeddings)).numpy()
    dtype = str(centred_dtype(index.matrix, device)).removeprefix("torch.")
    return digest_of(text, audio, dtype)
