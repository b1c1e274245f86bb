"""How far off probabilities are, and how sure that is. Pure.

    brier               mean of (p - present)^2                0.25 for always saying one half
    calibration_error   mean over ten bins of equal size of |mean p - share present|, weighted
    auroc               a present sound has the higher p with this probability
    accuracy            of saying "present" from p = 0.5 on

`brier` and `auroc` have 95 % intervals by bootstrap over target recordings, since judgements of one
recording are alike. That of `accuracy` is Wilson's for a share (JASA 1927), which takes each
judgement for itself, and so is on the narrow side. `calibration_error` has none: resampled, it only
grows, since every bin then strays by chance a second time.

Letters: n judgements, R resamples, P present, A absent ones.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.intervals import RESAMPLES, Interval, bootstrap_mean, percentiles, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10


def errors(
    probability: NDArray[np.float64],
    present: NDArray[np.bool_],
    groups: Sequence[Hashable] | None = None,
) -> dict[str, float]:
    """How far off probabilities are, each figure with `_low` and `_high` where it has an interval.

    Args:
        probability: From 0 to 1. `[n]`
        present: Whether the sound was there, both ways at least once. `[n]`
        groups: The target recording of each, by itself by default. `[n]`
    """
    keys = list(range(len(present))) if groups is None else list(groups)
    order = np.argsort(probability, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    gaps = [len(part) * abs(probability[part].mean() - present[part].mean()) for part in bins]
    right = (probability >= 0.5) == present
    return {
        **_told("brier", bootstrap_mean(np.square(probability - present).tolist(), keys)),
        "calibration_error": float(sum(gaps) / len(order)),
        **_told("auroc", bootstrap_auroc(probability, present, keys)),
        **_told("accuracy", wilson(int(right.sum()), len(right))),
        "judgements": float(len(order)),
    }


def bootstrap_auroc(
    probability: NDArray[np.float64],
    present: NDArray[np.bool_],
    groups: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The area under the ROC curve and its 95 % interval, groups drawn as a whole.

    Resamples without a present or without an absent sound are left out.

    Args:
        probability: `[n]`
        present: `[n]`
        groups: Which judgements belong together. `[n]`
        seed: Of the resampling.
        resamples: How many, R.
    """
    gaps = probability[present][:, None] - probability[~present][None]
    wins = (gaps > 0) + 0.5 * (gaps == 0)  # [P, A]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(groups))}
    members = np.array([numbers[key] for key in groups])
    draws = np.random.default_rng(seed).integers(0, len(numbers), (resamples, len(numbers)))
    times = np.stack([np.bincount(row, minlength=len(numbers)) for row in draws])
    weights = times[:, members].astype(np.float64)  # how often each judgement was drawn, [R, n]
    there, absent = weights[:, present], weights[:, ~present]
    pairs = there.sum(axis=1) * absent.sum(axis=1)
    won = ((there @ wins) * absent).sum(axis=1)
    low, high = percentiles(won[pairs > 0] / pairs[pairs > 0])
    return Interval(float(wins.mean()), low, high)


def _told(name: str, found: Interval) -> dict[str, float]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
