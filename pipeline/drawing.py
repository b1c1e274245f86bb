"""Draw captions at random from a cache or a file, so that sets of other sizes can be compared.

Every row gets a random key in the order of the rows, and the rows with the smallest keys are the
sample. So a stream of any length is read once, memory holds the sample, and a smaller sample of the
same seed is part of a larger one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_PURPOSE = 0xD1FE  # sets this generator apart from others of the same seed


@dataclass(frozen=True)
class Drawn:
    """A sample of captions.

    Attributes:
        name: What it was drawn from.
        total: Captions that there were.
        texts: The captions, in the order in which they were drawn.
        rows: Their row numbers there, from 0.
    """

    name: str
    total: int
    texts: tuple[str, ...]
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, n: int) -> Drawn:
        """The sample that would have been drawn for n, in the order of its rows."""
        order = sorted(range(min(n, len(self))), key=self.rows.__getitem__)
        return Drawn(
            self.name,
            self.total,
            tuple(self.texts[place] for place in order),
            tuple(self.rows[place] for place in order),
        )


class Drawer:
    """Draws from a stream of captions.

    Args:
        n: How many, at most.
        seed: The same seed draws the same rows.
    """

    def __init__(self, n: int, seed: int) -> None:
        import numpy as np

        self._n = n
        self._generator = np.random.default_rng([seed, _PURPOSE])
        self._heap: list[tuple[float, int, str]] = []  # the largest key first, so negative
        self._row = self._total = 0

    def add(self, texts: Sequence[str], keep: Iterable[bool] | None = None) -> None:
        """Take the next rows of the stream.

        Args:
            texts: Their captions.
            keep: Which of them may be drawn; all by default.
        """
        keys = self._generator.random(len(texts)).tolist()
        may = [True] * len(texts) if keep is None else list(keep)
        for key, text, kept in zip(keys, texts, may, strict=True):
            if kept:
                self._total += 1
                entry = (-key, self._row, text)
                if len(self._heap) < self._n:
                    heapq.heappush(self._heap, entry)
                elif entry > self._heap[0]:
                    heapq.heapreplace(self._heap, entry)
            self._row += 1

    def drawn(self, name: str) -> Drawn:
        """What was drawn."""
        entries = sorted(self._heap, reverse=True)
        return Drawn(
            name,
            self._total,
            tuple(text for _, _, text in entries),
            tuple(row for _, row, _ in entries),
        )
