"""From text to hashed pieces: any English text (any Unicode text) without a vocabulary.

A text is cut into words; a word is known by the hash of itself and by those of its character
3- to 5-grams, so that "barked" shares most of its pieces with "barking", and a misspelt word with
the right one. Hashes are CRC-32: the same on every machine and in every process.

Letters: n texts, V different words.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import EmptyInputError

BUCKETS = 16384
_WORD = re.compile(r"\w+")
_LONGEST_WORD = 40  # characters that count: what is longer is not a word
_GRAMS = (3, 4, 5)

PREPROCESSING = {
    "words": "NFKC casefold \\w+",
    "hash": "crc32",
    "buckets": BUCKETS,
    "grams": list(_GRAMS),
    "longest_word": _LONGEST_WORD,
}


@dataclass(frozen=True)
class Tokens:
    """Texts as rows of words, and the words as bags of hashed pieces.

    Attributes:
        rows: For each text, the places of its words in the table of different words.
        pieces: Buckets of the pieces of all different words, one word after the other.
        offsets: Where in `pieces` each word begins. Shape: [V].
        weights: Of each piece: 1 for the word itself, 1 over their number for its n-grams.
    """

    rows: list[NDArray[np.int64]]
    pieces: NDArray[np.int64]
    offsets: NDArray[np.int64]
    weights: NDArray[np.float32]


def words_of(text: str) -> list[str]:
    """The words of a text, case-folded; characters where a text has no word (":-)", emoji).

    Raises:
        EmptyInputError: For a text with nothing but white space.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = _WORD.findall(folded) or folded.split()
    if not words:
        raise EmptyInputError("an empty text has no embedding", found=repr(text[:40]))
    return [word[:_LONGEST_WORD] for word in words]


def _bucket(piece: str) -> int:
    return zlib.crc32(piece.encode("utf-8", "surrogatepass")) % BUCKETS


@lru_cache(maxsize=1 << 16)
def pieces_of(word: str) -> tuple[int, ...]:
    """The buckets of a word: first itself, then its n-grams with its borders marked."""
    marked = f"<{word}>"
    grams = [
        marked[start : start + size]
        for size in _GRAMS
        for start in range(max(len(marked) - size + 1, 0))
    ]
    return (_bucket(f"={word}"), *(_bucket(gram) for gram in grams))


def tokenize(texts: Sequence[str]) -> Tokens:
    """Cut texts into words and look up the pieces of every different word once."""
    places: dict[str, int] = {}
    rows = [
        np.array([places.setdefault(word, len(places)) for word in words_of(text)], dtype=np.int64)
        for text in texts
    ]
    bags = [pieces_of(word) for word in places]
    sizes = np.array([len(bag) for bag in bags], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    weights = np.repeat(1 / np.maximum(sizes - 1, 1), sizes).astype(np.float32)
    weights[offsets] = 1.0
    return Tokens(rows, np.concatenate([np.array(bag) for bag in bags]), offsets, weights)
