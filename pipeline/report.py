"""What a report tells of a cache: counts, words, concepts, axes, refusals, and how audio meets it.

Everything is read in batches or from a sample; memory grows with the vocabulary of concepts. The
page itself is `report_page`.

The gap is the distance between the mean of audio and that of text embeddings (Liang et al.,
arXiv 2203.02053). A hub is a caption that is nearest to many clips; how uneven that is tells the
skewness of the number of times that a caption is among the k nearest (Radovanovic et al., JMLR
2010).

Letters: n clips, N rows, K neighbours, D embedding size.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remember
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.progress import Progress, quiet
from pipeline.queries import Queries, read_queries

if TYPE_CHECKING:
    import numpy as np

    from cache_store.cache import Cache
    from cache_store.manifest import IndexEntry
    from pipeline.describe import Description
    from pipeline.rejects import Rejects

CONCEPTS = 25  # that are named
HUBS = 10
NEIGHBOURS = 10
MOST_CLIPS = 4096  # that are searched for; more would tell no more
_VALUES = 12  # of an axis
_EXAMPLES = 12
_BLOCK = 8192
_SEED = 0


@dataclass(frozen=True)
class Meeting:
    """How recordings meet the captions.

    Attributes:
        name: The file of clips.
        clips: n, how many of them were searched for.
        gap: Distance between the mean audio and the mean text embedding.
        nearest: Cosines of clips to their nearest caption, by quantile ("0.5").
        histogram: The same cosines as counts: (lower edge, clips).
        used: Captions that are nearest to some clip.
        skewness: Of the number of times that a caption is among the K nearest.
        hubs: The captions that are nearest to most clips, with how many.
        rejected: Recordings that could not be used.
    """

    name: str
    clips: int
    gap: float
    nearest: dict[str, float]
    histogram: tuple[tuple[float, int], ...]
    used: int
    skewness: float
    hubs: tuple[tuple[str, int], ...]
    rejected: int = 0


@dataclass(frozen=True)
class Facts:
    """All that a report tells.

    Attributes:
        stats: `Cache.stats()`.
        description: Lengths, concepts, spread.
        axes: Captions by value, for each axis of diversity; the commonest values.
        rejects: What was refused.
        meeting: How recordings meet the captions; None without recordings.
        indexes: What is known of each index.
        provenance: The steps, oldest first.
        examples: Some captions.
        created: Of the manifest.
        tool_version: Of lqtse that wrote it.
    """

    stats: Mapping[str, Any]
    description: Description
    axes: Mapping[str, Mapping[str, int]]
    rejects: Rejects
    meeting: Meeting | None
    indexes: tuple[IndexEntry, ...]
    provenance: tuple[Mapping[str, Any], ...]
    examples: tuple[str, ...]
    created: str
    tool_version: str


def write_report(
    cache: str | Path,
    *,
    output: str | Path | None = None,
    queries: str | Path | None = None,
    space_name: str | None = None,
    space: str | None = None,
    device: str = "auto",
    manifest: int | None = None,
    progress: Progress = quiet,
) -> tuple[Path, Facts]:
    """Write one page about a cache; return where it is, and what it tells.

    Args:
        cache: The cache's folder.
        output: The page; by default report/index.html in the cache.
        queries: A folder or a manifest of recordings, for the gap and the hubs. Stored embeddings
            (`lqtse-cache join` writes them) are used as they are, recordings are heard.
        space_name: Where stored embeddings came from, if the manifest does not say.
        space: A model of the cache's space to hear recordings with, None for the one it names.
        device: Where to hear them.
        manifest: The number of an older manifest to tell of.
        progress: How to show the hearing of recordings.

    Raises:
        DataError: If there is no cache.
        UsageError: If the queries cannot be heard.
        EmptyInputError: If none of them can be used.
        SpaceMismatchError: If they are of another space.
        StorageError: If the page cannot be written.
    """
    from cache_store.cache import open_cache
    from cache_store.errors import storage_errors
    from cache_store.files import replace_file
    from pipeline.report_page import render

    with open_cache(cache, manifest) as store:
        asked = None
        if queries is not None:
            asked = read_queries(
                store,
                queries,
                most=MOST_CLIPS,
                space=space,
                space_name=space_name,
                device=device,
                progress=progress,
            )
        facts = collect(store, asked)
    place = Path(output) if output is not None else Path(cache) / "report" / "index.html"
    with storage_errors(place):
        replace_file(place, render(facts, Path(cache).resolve().name).encode())
    return place, facts


def collect(cache: Cache, queries: Queries | None = None) -> Facts:
    """Read what a report tells."""
    from pipeline.describe import describe
    from pipeline.rejects import summarise_rejects

    manifest = cache.manifest
    return Facts(
        stats=cache.stats(),
        description=describe(cache, CONCEPTS),
        axes=_axes(cache),
        rejects=summarise_rejects(cache),
        meeting=_meet(cache, queries) if queries is not None else None,
        indexes=manifest.indexes,
        provenance=manifest.provenance,
        examples=tuple(_examples(cache)),
        created=manifest.created,
        tool_version=manifest.tool_version,
    )


def _axes(cache: Cache) -> dict[str, dict[str, int]]:
    from cache_store.stats import live_values

    counts: dict[str, Counter[str]] = {}
    for entry in cache.manifest.texts:
        for spelled in live_values(cache, entry, "axes"):
            for name, value in _parsed(spelled):
                counts.setdefault(name, Counter())[value] += 1
    return {name: dict(found.most_common(_VALUES)) for name, found in sorted(counts.items())}


@remember
def _parsed(axes: str) -> tuple[tuple[str, str], ...]:
    try:
        found = json.loads(axes or "{}")
    except ValueError:  # imported captions may have axes of any kind
        return ()
    if not isinstance(found, dict):
        return ()
    plain = (str, int, float, bool)
    return tuple((str(name), str(one)) for name, one in found.items() if isinstance(one, plain))


def _examples(cache: Cache) -> Sequence[str]:
    from cache_store.stats import live_values

    if cache.manifest.space is not None and len(cache):
        rows = cache.sample(min(len(cache), _EXAMPLES), _SEED)
        return [str(one) for one in cache.captions(rows)]
    found: list[str] = []
    for entry in cache.manifest.texts:
        for caption in live_values(cache, entry, "caption"):
            if len(found) == _EXAMPLES:
                return found
            found.append(caption)
    return found


def _meet(cache: Cache, queries: Queries) -> Meeting:
    import numpy as np

    audio = queries.spread(MOST_CLIPS)
    hits = cache.search(audio, k=min(NEIGHBOURS, len(cache)), kind="exact")
    rows, scores = np.asarray(hits.rows), np.asarray(hits.scores)
    first = np.bincount(rows[:, 0], minlength=cache.manifest.rows)
    among = np.bincount(rows.reshape(-1), minlength=cache.manifest.rows)[cache.live_rows]
    order = sorted(np.flatnonzero(first).tolist(), key=lambda row: (-int(first[row]), row))[:HUBS]
    nearest = scores[:, 0]
    low, high = float(nearest.min()), float(nearest.max())
    counts, edges = np.histogram(nearest, bins=24, range=(low, max(high, low + 1e-3)))
    gap = audio.mean(axis=0, dtype=np.float64) - _mean(cache)
    return Meeting(
        name=queries.name,
        rejected=len(queries.rejects),
        clips=len(audio),
        gap=float(np.linalg.norm(gap)),
        nearest={f"{q:g}": float(np.quantile(nearest, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)},
        histogram=tuple(zip(edges[:-1].tolist(), counts.tolist(), strict=True)),
        used=int((first > 0).sum()),
        skewness=_skewness(among),
        hubs=tuple(
            (str(caption), int(first[row]))
            for caption, row in zip(cache.captions(order), order, strict=True)
        ),
    )


def _mean(cache: Cache) -> np.ndarray[Any, Any]:
    """The mean of the rows that a search can return, [D], a block at a time."""
    import numpy as np

    total = np.zeros(cache.dim)
    live = cache.live_rows
    for start in range(0, len(live), _BLOCK):
        total += cache.embeddings[live[start : start + _BLOCK]].sum(axis=0, dtype=np.float64)
    mean: np.ndarray[Any, Any] = total / max(len(live), 1)
    return mean


def _skewness(values: np.ndarray[Any, Any]) -> float:
    centred = values - values.mean()
    spread = float((centred**2).mean())
    return 0.0 if spread == 0 else float((centred**3).mean() / spread**1.5)
