"""How sure a mean is: bootstrap confidence intervals, over groups that belong together.

Mixtures that share a target recording are not independent, so whole groups are drawn, not single
mixtures (the cluster bootstrap; Davison and Hinkley, "Bootstrap Methods", section 3.8). Plain
percentiles of the resampled means; the same seed gives the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 2_000
COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap_mean(
    values: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of `values` and its 95 % interval.

    Args:
        values: At least one. Shape: `[n]`
        groups: Which values belong together, each by itself by default. Shape: `[n]`
        seed: Of the resampling.
        resamples: How many.
    """
    keys = list(range(len(values))) if groups is None else list(groups)
    order = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    members = np.array([order[key] for key in keys])
    sums = np.bincount(members, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(members)
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(sums), size=(resamples, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return Interval(float(np.mean(values)), *percentiles(means))


def bootstrap_crossed(
    values: NDArray[np.float64],
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of a table and its 95 % interval, where both rows and groups of columns vary.

    Rows (seeds of a training) and groups of columns (target recordings) are drawn anew, each by
    itself: the pigeonhole bootstrap (Owen, Annals of Applied Statistics 2007). With one row it is
    `bootstrap_mean`.

    Args:
        values: A row a seed, a column a mixture; at least one of each. Shape: `[S, M]`
        groups: Which columns belong together. Shape: `[M]`
        seed: Of the resampling.
        resamples: How many.
    """
    order = {key: index for index, key in enumerate(dict.fromkeys(groups))}
    members = np.array([order[key] for key in groups])
    sums = np.array([np.bincount(members, weights=row) for row in values])
    counts = np.bincount(members)
    generator = np.random.default_rng(seed)
    columns = generator.integers(0, len(counts), size=(resamples, len(counts)))
    rows = generator.integers(0, len(sums), size=(resamples, len(sums)))
    chosen = sums[rows[:, :, np.newaxis], columns[:, np.newaxis, :]]
    means = chosen.sum(axis=(1, 2)) / (len(sums) * counts[columns].sum(axis=1))
    return Interval(float(np.mean(values)), *percentiles(means))


def percentiles(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the 95 % interval of resampled figures. Shape: `[R]`"""
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def wilson(successes: int, trials: int) -> Interval:
    """A share and its 95 % score interval (Wilson, JASA 1927), never below 0 or above 1.

    Args:
        successes: At most `trials`.
        trials: At least one, each for itself.
    """
    z = 1.959963984540054  # of the normal distribution, 97.5 %
    share = successes / trials
    weight = 1 + z**2 / trials
    middle = (share + z**2 / (2 * trials)) / weight
    half = z / weight * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))
