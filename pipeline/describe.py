"""What a cache's captions are like: lengths, concepts, and how their embeddings spread.

The spread is told by two numbers. The mean cosine between two different captions says how narrow
the cloud is. The Vendi score (Friedman and Dieng, 2023: exp of the entropy of the eigenvalues of
K/n, K the cosines of n rows) says how many different captions it is worth; with unit rows X the
D×D matrix XᵀX/n has the same eigenvalues.

Letters: n sampled rows, D embedding size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.peek import caption_files

if TYPE_CHECKING:
    import numpy as np

    from cache_store.cache import Cache

LENGTH_BINS = (1, 2, 4, 7, 11, 16, 26)  # words: the first of each bin
SAMPLE_ROWS = 10_000  # the Vendi score falls with n, so it is always told for at most so many
_SAMPLE_SEED = 0


@dataclass(frozen=True)
class Description:
    """What the captions of a cache are like.

    Attributes:
        captions: How many, removed ones left out, as in all that follows.
        lengths: Captions by words, the bins in words ("2-3").
        concepts: Different concepts that captions were written for.
        commonest: The most frequent of them, with their captions.
        without_concept: Captions that were written for none.
        sampled: n, rows that the spread was measured on; 0 if nothing is embedded.
        mean_cosine: Between two different captions; None below two rows.
        vendi: The Vendi score of the sample; None if nothing is embedded.
    """

    captions: int
    lengths: dict[str, int]
    concepts: int
    commonest: dict[str, int]
    without_concept: int
    sampled: int
    mean_cosine: float | None
    vendi: float | None


def describe(cache: Cache, commonest: int = 5) -> Description:
    """Read a cache's captions, and a sample of its embeddings.

    Args:
        cache: The cache.
        commonest: How many of the most frequent concepts to name.
    """
    from cache_store.stats import live_values

    lengths: Counter[int] = Counter()
    concepts: Counter[str] = Counter()
    without = 0
    for entry in caption_files(cache.manifest):
        lengths.update(len(text.split()) for text in live_values(cache, entry, "caption"))
        for names in live_values(cache, entry, "concepts"):
            concepts.update(names)
            without += not names
    sampled, cosine, vendi = 0, None, None
    if cache.manifest.space is not None:
        rows = cache.sample(min(len(cache), SAMPLE_ROWS), _SAMPLE_SEED)
        sampled = len(rows)
        cosine, vendi = spread(cache.embeddings[rows])
    return Description(
        captions=sum(lengths.values()),
        lengths=histogram(lengths),
        concepts=len(concepts),
        commonest=dict(sorted(concepts.items(), key=lambda item: (-item[1], item[0]))[:commonest]),
        without_concept=without,
        sampled=sampled,
        mean_cosine=cosine,
        vendi=vendi,
    )


def histogram(lengths: Counter[int], bins: Sequence[int] = LENGTH_BINS) -> dict[str, int]:
    """Counts of lengths by bin, in words; every caption has at least one."""
    ends = (*(first - 1 for first in bins[1:]), None)
    found: dict[str, int] = {}
    for first, last in zip(bins, ends, strict=True):
        name = f"{first}+" if last is None else str(first) if first == last else f"{first}-{last}"
        found[name] = sum(
            count
            for length, count in lengths.items()
            if length >= first and (last is None or length <= last)
        )
    return found


def spread(vectors: np.ndarray[Any, Any]) -> tuple[float | None, float | None]:
    """The mean cosine between different rows, and the Vendi score.

    Args:
        vectors: Unit rows, float16 or float32.

    Shape:
        vectors [n, D].
    """
    import numpy as np

    n = len(vectors)
    if n == 0:
        return None, None
    wide = vectors.astype(np.float64)
    total = wide.sum(axis=0)
    # The sum over all pairs is ‖Σx‖²; the n pairs of a row with itself are left out.
    own = float((wide * wide).sum())
    cosine = (float(total @ total) - own) / (n * (n - 1)) if n > 1 else None
    values = np.linalg.eigvalsh(wide.T @ wide / n)
    shares = values[values > 0] / values[values > 0].sum()
    return cosine, float(np.exp(-(shares * np.log(shares)).sum()))
