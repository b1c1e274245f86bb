"""MinHash with locality-sensitive hashing: which sets may be alike, without comparing all pairs.

A sketch keeps, for each of some random hash functions, the smallest hash of a set; two sets share
such a value with a chance equal to their Jaccard similarity s (Broder 1997). Sketches are cut into
bands; sets that agree on a whole band are candidates, with a chance of 1 − (1 − s^r)^b for b bands
of r values. Hash functions are x → (a·x + c mod 2^64) >> 32 with odd a, 2-independent enough for
32-bit x (Dietzfelbinger 1996).

The datasketch package does the same and is the oracle of the tests; it loads scipy on import, which
takes a second and 37 MB.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np
import numpy.typing as npt


class NearIndex:
    """Finds the sets that may be like a given one.

    Args:
        bands: b.
        rows: r, the values of a band.
        seed: Of the hash functions.
    """

    def __init__(self, bands: int, rows: int, seed: int) -> None:
        rng = np.random.Generator(np.random.PCG64(seed))
        drawn = rng.integers(0, 2**64, (2, bands * rows, 1), dtype=np.uint64)
        self._factors, self._terms = drawn[0] | np.uint64(1), drawn[1]
        self._band_bytes = rows * 4
        self._tables: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(bands)]

    def sketch(self, values: Collection[int]) -> list[bytes]:
        """The bands of a set of 32-bit numbers, which must not be empty."""
        column = np.fromiter(values, dtype=np.uint64, count=len(values))
        hashes: npt.NDArray[np.uint64] = self._factors * column + self._terms
        smallest = (hashes >> np.uint64(32)).min(axis=1).astype("<u4").tobytes()
        size = self._band_bytes
        return [smallest[begin : begin + size] for begin in range(0, len(smallest), size)]

    def query(self, sketch: list[bytes]) -> set[int]:
        """The names of the sets that share a band."""
        return {
            name
            for table, band in zip(self._tables, sketch, strict=True)
            for name in table.get(band, ())
        }

    def insert(self, name: int, sketch: list[bytes]) -> None:
        """Remember a set."""
        for table, band in zip(self._tables, sketch, strict=True):
            table[band].append(name)
