"""What a join found and what it took.

Letters: n clips, N captions, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache_store.cache import Cache, Hits
    from pipeline.join_tally import Tally


@dataclass(frozen=True)
class JoinReport:
    """What a join found.

    Attributes:
        clips: n, clips written.
        rejected: Clips that could not be used.
        rejects_file: Where they are named, None if there are none.
        captions: N.
        k: K.
        space: The space's name.
        stored: Whether the clips' embeddings came with them.
        kind: What searched.
        reason: Why that.
        centred: Whether the stored means of both modalities were taken off.
        best_score: The mean score of the nearest caption.
        nearest: How many different captions are somebody's nearest.
        busiest: The caption that is nearest to most clips, and to how many.
        gap: The distance between the mean audio and the mean text embedding.
        heard: Recordings that this run decoded and embedded.
        resumed: Recordings taken over from a run that was stopped.
        workers: Processes that worked.
    """

    clips: int
    rejected: int
    rejects_file: Path | None
    captions: int
    k: int
    space: str
    stored: bool
    kind: str
    best_score: float
    nearest: int
    busiest: tuple[str, int]
    gap: float
    heard: int = 0
    resumed: int = 0
    workers: int = 0
    reason: str = ""
    centred: bool = False


@dataclass(frozen=True)
class Work:
    """What hearing took.

    Attributes:
        paths: The parts, in the order of the shards; none if the embeddings were stored.
        heard: Recordings that were heard.
        resumed: Recordings whose parts were there.
        workers: Processes that worked.
    """

    paths: tuple[Path, ...] = ()
    heard: int = 0
    resumed: int = 0
    workers: int = 0


def report_of(
    store: Cache, tally: Tally, hits: Hits, rejected: int, rejects_file: Path | None, work: Work
) -> JoinReport:
    """Put the report together.

    Args:
        store: The cache.
        tally: Of all clips.
        hits: Of any block: how the search went.
        rejected: Recordings that could not be used.
        rejects_file: Where they are named.
        work: What hearing took.
    """
    row, most = tally.busiest()
    return JoinReport(
        clips=tally.clips,
        rejected=rejected,
        rejects_file=rejects_file,
        captions=len(store),
        k=tally.k,
        space=store.space.name,
        stored=not work.paths,
        kind=hits.kind,
        best_score=tally.best_score(),
        nearest=tally.nearest(),
        busiest=(str(store.captions([row])[0]), most),
        gap=tally.gap(store),
        heard=work.heard,
        resumed=work.resumed,
        workers=work.workers,
        reason=hits.reason,
        centred=hits.centred,
    )
