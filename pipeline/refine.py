"""Refuse captions that say again what the cache already says.

Two captions are duplicates if they differ in case, punctuation and white space only, and near
duplicates if the Jaccard similarity of their shingles (single words and pairs of neighbours) is at
least a threshold. MinHash with locality-sensitive hashing finds the candidates (Broder 1997;
datasketch), and the exact similarity decides, so nothing is refused by a collision of hashes.

Captions under four words are compared for equality only: "dog barking" and "dog howling" share
half of their words and are two different sounds.

The order of the calls decides which of two alike captions stays; the same captions in the same
order give the same answers. Memory is about 2 kB a caption, most of it the hash tables.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datasketch import MinHash

Reason = Literal["duplicate", "near_duplicate"]

THRESHOLD = 0.7
SHORTEST = 4  # words from which near duplicates are looked for
_PERMUTATIONS = 64
_SEED = 1
_NOT_WORD = re.compile(r"[^\w']+", re.UNICODE)


class Deduper:
    """Remembers captions, and says whether another one is new.

    Args:
        threshold: Jaccard similarity from which two captions are near duplicates, in (0, 1].

    Raises:
        ValueError: If `threshold` is out of range.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
        from datasketch import MinHashLSH

        self.threshold = threshold
        self._keys: set[str] = set()
        self._shingles: list[frozenset[str]] = []
        # Candidates are wanted well below the threshold: the exact similarity decides.
        self._lsh = MinHashLSH(threshold=max(threshold - 0.15, 0.05), num_perm=_PERMUTATIONS)

    def __len__(self) -> int:
        """How many different captions are remembered."""
        return len(self._keys)

    def check(self, text: str) -> Reason | None:
        """Whether a caption repeats an earlier one; if not, remember it."""
        words = _words(text)
        key = " ".join(words)
        if key in self._keys:
            return "duplicate"
        shingles = _shingles(words)
        sketch = _sketch(shingles) if len(words) >= SHORTEST else None
        if sketch is not None and self._has_near(sketch, shingles):
            return "near_duplicate"
        self._remember(key, shingles, sketch)
        return None

    def add(self, text: str) -> None:
        """Remember a caption that is kept already, whatever it repeats."""
        words = _words(text)
        key = " ".join(words)
        if key not in self._keys:
            shingles = _shingles(words)
            self._remember(key, shingles, _sketch(shingles) if len(words) >= SHORTEST else None)

    def _has_near(self, sketch: MinHash, shingles: frozenset[str]) -> bool:
        return any(
            _jaccard(shingles, self._shingles[other]) >= self.threshold
            for other in self._lsh.query(sketch)
        )

    def _remember(self, key: str, shingles: frozenset[str], sketch: MinHash | None) -> None:
        self._keys.add(key)
        if sketch is not None:
            self._lsh.insert(len(self._shingles), sketch)
            self._shingles.append(shingles)


def _words(text: str) -> list[str]:
    """Lower-case words without punctuation, in Unicode's compatibility form."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return _NOT_WORD.sub(" ", folded).split()


def _shingles(words: list[str]) -> frozenset[str]:
    return frozenset(words) | {f"{a} {b}" for a, b in itertools.pairwise(words)}


def _sketch(shingles: frozenset[str]) -> MinHash:
    from datasketch import MinHash

    sketch = MinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    sketch.update_batch([shingle.encode() for shingle in sorted(shingles)])
    return sketch


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
