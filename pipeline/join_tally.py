"""What a join says of its clips at the end, counted block by block.

Letters: b clips of a block, N rows of the cache, D embedding size, K neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cache_store.cache import Cache, Hits

_BLOCK_ROWS = 16_384


class Tally:
    """Sums over the clips that were joined.

    Args:
        shape: N and D.

    Attributes:
        clips: How many there were.
        k: K.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        rows, dim = shape
        self.clips = self.k = 0
        self._count = np.zeros(rows, np.int64)
        self._audio = np.zeros(dim)
        self._scores = 0.0

    def add(self, vectors: np.ndarray[Any, Any], hits: Hits) -> None:
        """Count a block: embeddings [b, D] and neighbours [b, K]."""
        self.clips += len(vectors)
        self.k = hits.rows.shape[1]
        self._count += np.bincount(hits.rows[:, 0], minlength=len(self._count))
        # In float64: a mean of many float32 values would stall.
        self._audio += vectors.sum(axis=0, dtype=np.float64)
        self._scores += float(hits.scores[:, 0].sum(dtype=np.float64))

    def best_score(self) -> float:
        """The mean score of the nearest caption."""
        return self._scores / max(self.clips, 1)

    def nearest(self) -> int:
        """How many captions are some clip's nearest."""
        return int((self._count > 0).sum())

    def busiest(self) -> tuple[int, int]:
        """The row that is nearest to most clips, and to how many; the first of several."""
        row = int(self._count.argmax())
        return row, int(self._count[row])

    def gap(self, store: Cache) -> float:
        """The distance between the mean audio and the mean text embedding."""
        text = np.zeros(len(self._audio))
        live = store.live_rows
        for begin in range(0, len(live), _BLOCK_ROWS):
            text += store.embeddings[live[begin : begin + _BLOCK_ROWS]].sum(0, dtype=np.float64)
        return float(np.linalg.norm(self._audio / max(self.clips, 1) - text / max(len(live), 1)))
