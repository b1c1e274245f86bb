"""Which of the user's clips the cache covers: pure figures, no files, no models.

**Far** must not hang on a cosine. Between recordings and texts cosines are low (0.3 to 0.6), they
differ from one kind of sound to the next, and the *nearest* of many captions is near by luck: with
2,000 captions about other things, some scores as high for a dog as captions about dogs do. So like
is compared with like, typical captions with typical captions:

    score(i, c)   median over the wordings of concept c of the cosine with clip i
    best(i)       the concept with the highest score, of all concepts in the bank
    gap(i)        score(i, best(i)) − the highest score(i, c) among concepts that the cache *holds*

A concept is held if captions of the cache are about it (`Reference.about`: a question between
texts, with no modality gap between them). The gap says what clip i would gain if the cache had
captions about what it sounds like; it is 0 if it has. It needs no absolute threshold, only a noise
level: another *wording* of one concept changes the score too. Clip i is **far** if its gap is
larger than that spread (`threshold`: the interquartile range over the wordings of best(i), in
standard deviations of a normal distribution, median over the clips).

A clip is **near no concept** (and neither far nor covered) if its best score is not higher than
what the best *wrong* concept scores for a usual clip; wrong is whatever is of another group than
best(i). There the bank has nothing to offer and the user has to name concepts. This is told from
cosines that are not centred: they say better whether anything is near at all. It is a rule on the
safe side: whom it names is near nothing, and there may be more of them.

The rest is **covered**, and coverage is its share. What this was chosen from, with precision and
recall against the labels of ESC-10, is in docs/grow.md.

Letters: n clips, C concepts, M wordings, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.grow.reference import Reference, Vectors

Flags = NDArray[np.bool_]

_BLOCK = 256  # clips scored at once: [256, C, M] float32 is 9 MB for a thousand concepts
_NORMAL_IQR = 1.349  # interquartile range of a normal distribution, in standard deviations
_STARVED = 0.05
_RESAMPLES = 2000
_BOOTSTRAP = 0x6407  # purpose number of the resampling


@dataclass(frozen=True)
class Scores:
    """How well each clip fits each concept.

    Attributes:
        typical: [n, C], median over wordings of the cosine with the centred wording.
        plain: [n, C], the same without centring.
        spread: [n], robust standard deviation over the wordings of the best concept.
    """

    typical: Vectors
    plain: Vectors
    spread: Vectors


def score(clips: Vectors, reference: Reference) -> Scores:
    """Score clips against the concepts of a bank.

    Shape:
        clips [n, D], unit norm.
    """
    concepts, count, dim = reference.wordings.shape
    words = reference.wordings.reshape(-1, dim)
    lengths = np.maximum(np.linalg.norm(words - reference.centre, axis=1), 1e-12)
    typical = np.empty((len(clips), concepts), np.float32)
    plain = np.empty_like(typical)
    spread = np.empty(len(clips), np.float32)
    for begin in range(0, len(clips), _BLOCK):
        block = clips[begin : begin + _BLOCK]
        rows = slice(begin, begin + len(block))
        raw = block @ words.T
        # a·(t − m)/‖t − m‖ from a·t: one product serves both.
        moved = ((raw - (block @ reference.centre)[:, None]) / lengths).reshape(-1, concepts, count)
        plain[rows] = np.median(raw.reshape(-1, concepts, count), axis=2)
        typical[rows] = np.median(moved, axis=2)
        best = typical[rows].argmax(axis=1)
        low, high = np.quantile(moved[np.arange(len(block)), best], (0.25, 0.75), axis=1)
        spread[rows] = (high - low) / _NORMAL_IQR
    return Scores(typical, plain, spread)


def held(counts: NDArray[np.int64]) -> Flags:
    """Which concepts a cache holds.

    At least one caption, and in a large cache at least a twentieth of what the middle concept has:
    there a handful among a million is a concept that is as good as missing, or a mistake.

    Args:
        counts: Captions about each concept, [C].
    """
    some = counts[counts > 0]
    least = max(1.0, _STARVED * float(np.median(some))) if len(some) else 1.0
    return np.asarray(counts >= least)


@dataclass(frozen=True)
class Coverage:
    """The state of a set of clips.

    Attributes:
        best: [n], the concept that each clip fits best.
        gap: [n], what it would gain by captions about that; at least 0.
        threshold: The gap from which a clip is far.
        far: [n]
        near_nothing: [n], clips that no concept of the bank fits.
    """

    best: NDArray[np.int64]
    gap: Vectors
    threshold: float
    far: Flags
    near_nothing: Flags

    @property
    def covered(self) -> Flags:
        """[n], the other clips."""
        return np.asarray(~(self.far | self.near_nothing))

    @property
    def share(self) -> float:
        """Coverage: the share of clips that are covered."""
        return float(self.covered.mean())

    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the coverage, over clips."""
        return interval(self.covered.astype(np.float64))


def judge(scores: Scores, held_concepts: Flags, groups: Sequence[str]) -> Coverage:
    """Say which clips are covered, far, or near no concept.

    Args:
        scores: Of the clips.
        held_concepts: Which concepts the cache holds, [C].
        groups: The group of each concept, "" for one that has none and is a group of its own.
    """
    rows = np.arange(len(scores.typical))
    best = scores.typical.argmax(axis=1)
    top = scores.typical[rows, best]
    if held_concepts.any():
        offered = scores.typical[:, held_concepts].max(axis=1)
    else:
        offered = np.full(len(rows), -1.0, np.float32)  # the lowest cosine there is
    gap = np.maximum(top - offered, 0.0)
    threshold = float(np.median(scores.spread)) if len(rows) else 0.0
    lost = _near_nothing(scores.plain, best, groups)
    return Coverage(best, gap, threshold, (gap > threshold) & ~lost, lost)


def _near_nothing(plain: Vectors, best: NDArray[np.int64], groups: Sequence[str]) -> Flags:
    names = [name or f"\0{row}" for row, name in enumerate(groups)]
    numbers = np.unique(names, return_inverse=True)[1]
    if not len(plain) or numbers.max() == 0:  # one group only: nothing is known to be wrong
        return np.zeros(len(plain), bool)
    own = numbers[None, :] == numbers[best][:, None]
    wrong = np.where(own, -np.inf, plain).max(axis=1)
    return np.asarray(plain.max(axis=1) <= np.median(wrong))


def rise(before: Coverage, after: Coverage) -> tuple[float, bool]:
    """How much coverage rose, and whether that is more than noise.

    Both are of the same clips. A rise is more than noise if a one-sided 95 % bootstrap over clips
    leaves it above 0, which takes three newly covered clips or more.
    """
    change = after.covered.astype(np.float64) - before.covered
    return float(change.mean()), interval(change, 0.05)[0] > 0


def interval(values: NDArray[Any], level: float = 0.025) -> tuple[float, float]:
    """Bootstrap interval of a mean, from `level` to 1 − `level`; the same for the same values."""
    if not len(values):
        return 0.0, 0.0
    kinds, counts = np.unique(values, return_counts=True)
    generator = np.random.default_rng([_BOOTSTRAP, len(values)])
    drawn = generator.multinomial(len(values), counts / len(values), size=_RESAMPLES)
    low, high = np.quantile(drawn @ kinds / len(values), (level, 1 - level))
    return float(low), float(high)
