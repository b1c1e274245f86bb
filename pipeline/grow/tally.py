"""What a cache's captions are about, and which of them is nearest to each clip.

Read shard by shard, in manifest order, so memory does not grow with the cache; a tally goes on from
where it stands when the cache has grown. Removed captions do not count.

Letters: n clips, N captions, C concepts, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grow.reference import Reference, Vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cache_store.manifest import FileEntry, Manifest

_ROWS = 2048  # captions compared with all clips at once


@dataclass
class Tally:
    """What was read so far.

    Attributes:
        counts: Captions about each concept, [C].
        rows: Captions read, N.
        score: The cosine of each clip's nearest caption, [n].
        nearest: The row of that caption, counted as in the cache; -1 before any, [n].
    """

    reference: Reference
    clips: Vectors = field(repr=False)
    counts: NDArray[np.int64] = field(init=False)
    rows: int = 0
    score: Vectors = field(init=False, repr=False)
    nearest: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.reference.centroids), np.int64)
        self.score = np.full(len(self.clips), -np.inf, np.float32)
        self.nearest = np.full(len(self.clips), -1, np.int64)

    def copy(self) -> Tally:
        """The same state; what is added to one does not reach the other."""
        other = Tally(self.reference, self.clips)
        other.counts, other.rows = self.counts.copy(), self.rows
        other.score, other.nearest = self.score.copy(), self.nearest.copy()
        return other

    def add(self, captions: NDArray[Any], alive: NDArray[np.bool_]) -> None:
        """Count the next captions.

        Args:
            captions: Their embeddings, unit norm.
            alive: Which of them are not removed.

        Shape:
            captions [N, D], alive [N].
        """
        for begin in range(0, len(captions), _ROWS):
            keep = np.flatnonzero(alive[begin : begin + _ROWS])
            block = captions[begin : begin + _ROWS][keep].astype(np.float32)
            if len(block):
                about = self.reference.about(block)
                self.counts += np.bincount(about[about >= 0], minlength=len(self.counts))
                cosines = self.clips @ block.T
                best = cosines.argmax(axis=1)
                top = cosines[np.arange(len(best)), best]
                better = top > self.score
                self.score[better] = top[better]
                self.nearest[better] = self.rows + begin + keep[best[better]]
        self.rows += len(captions)


def read_captions(
    folder: Path, manifest: Manifest, first: int, last: int
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Embeddings, and which are not removed, of the data files `first` to `last` of a manifest."""
    from cache_store.shards import read_table, to_matrix

    removed = set(manifest.tombstones)
    for entry in manifest.data[first:last]:
        table = read_table(folder / entry.path, ["id", "embedding"])
        alive = np.ones(table.num_rows, bool)
        if removed:
            alive = np.array([one not in removed for one in table.column("id").to_pylist()])
        yield to_matrix(table.column("embedding")), alive


def written_about(folder: Path, entries: tuple[FileEntry, ...]) -> dict[str, int]:
    """How many captions of these data files were asked for about each concept, by main concept."""
    from cache_store.shards import read_table

    counts: dict[str, int] = {}
    for entry in entries:
        for names in read_table(folder / entry.path, ["concepts"]).column("concepts").to_pylist():
            if names:
                counts[names[0]] = counts.get(names[0], 0) + 1
    return counts
