"""Going round: an endless sequence in which everyone comes once before anyone comes twice."""

from __future__ import annotations

import numpy as np


class Rounds:
    """Element i of a sequence of shuffled rounds; a pure function of (n, seed, purpose, i).

    Holds one round at a time, so asking in order is cheap and any order is right.

    Args:
        n: How many there are, numbered from 0.
        seed: Of the shuffles.
        purpose: Keeps sequences of one seed apart.
    """

    def __init__(self, n: int, seed: int, purpose: int) -> None:
        self._n, self._seed, self._purpose = n, seed, purpose
        self._number = -1
        self._order = np.zeros(0, np.int64)

    def __getitem__(self, index: int) -> int:
        number, place = divmod(index, self._n)
        if number != self._number:
            rng = np.random.default_rng([self._seed, self._purpose, number])
            self._order, self._number = rng.permutation(self._n), number
        return int(self._order[place])
