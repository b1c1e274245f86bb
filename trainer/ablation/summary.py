"""What the results of an ablation say: a mean, a spread and paired differences for each arm.

All arms and seeds are scored on the same mixtures, so differences are taken mixture by mixture
within a seed. Two things vary when an experiment is made again, the recordings and the seed: the
interval of a mean draws both anew (a two-way cluster bootstrap; Owen, "The pigeonhole bootstrap",
Annals of Applied Statistics 2007, which is on the wide side rather than the narrow). With three
seeds the share of the seeds in it is rough, so each seed's mean stands beside it.

Letters: S seeds, M mixtures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cache_store.errors import DataError
from trainer.ablation.plan import Ablation, Arm
from trainer.compare import Results, check_same, read_results
from trainer.intervals import Interval, bootstrap_crossed

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRICS = ("sdri", "si_sdri")


@dataclass(frozen=True)
class ArmSummary:
    """An arm's results.

    Attributes:
        arm: The arm.
        means: Mean and interval over recordings and seeds, by metric, in dB.
        seeds: Each seed's mean of the first metric, in dB.
        spread: Standard deviation of `seeds` (n − 1), NaN for one seed.
        to_baseline: The first metric less the baseline's, None for the baseline.
        to_upper: The first metric less the bound's, None for the bound or without one.
    """

    arm: Arm
    means: dict[str, Interval]
    seeds: tuple[float, ...]
    spread: float
    to_baseline: Interval | None
    to_upper: Interval | None


def summarise_arms(ablation: Ablation) -> list[ArmSummary]:
    """Read every result; those arms are left out of which a seed is missing.

    Raises:
        DataError: If no arm is finished, or a file of results cannot be read.
        MismatchError: If results are of different mixtures.
    """
    results = {
        arm.name: _read(ablation, arm)
        for arm in ablation.arms
        if all(job.results.is_file() for job in ablation.of(arm))
    }
    if not results:
        raise DataError(
            "no arm has results of all its seeds",
            where=ablation.out,
            hint="Run the ablation again: it goes on",
        )
    check_same([one for several in results.values() for one in several])
    return [_summary(arm, ablation, results) for arm in ablation.arms if arm.name in results]


def _read(ablation: Ablation, arm: Arm) -> list[Results]:
    return [read_results(job.name, job.results) for job in ablation.of(arm)]


def _summary(arm: Arm, ablation: Ablation, results: dict[str, list[Results]]) -> ArmSummary:
    own = results[arm.name]
    means = {metric: _interval(own, _values(own, metric)) for metric in METRICS}
    first = _values(own, METRICS[0])
    seeds = first.mean(axis=1)

    def against(other: Arm | None) -> Interval | None:
        if other is None or other == arm or other.name not in results:
            return None
        return _interval(own, first - _values(results[other.name], METRICS[0]))

    return ArmSummary(
        arm=arm,
        means=means,
        seeds=tuple(float(seed) for seed in seeds),
        spread=float(np.std(seeds, ddof=1)) if len(seeds) > 1 else float("nan"),
        to_baseline=against(ablation.baseline),
        to_upper=against(ablation.upper),
    )


def _values(results: Sequence[Results], metric: str) -> NDArray[np.float64]:
    """A metric of every seed and mixture, [S, M]."""
    return np.array([one.column(metric) for one in results])


def _interval(results: Sequence[Results], values: NDArray[np.float64]) -> Interval:
    return bootstrap_crossed(values, results[0].targets())
