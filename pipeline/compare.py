"""Set the results of several evaluations side by side: means, intervals, paired differences.

Reads the CSV files that `lqtse evaluate` writes, one row a mixture. Intervals are percentile
bootstraps over mixtures; a difference is bootstrapped over the same mixtures in both files, so
that the spread between easy and hard mixtures cancels.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import DataError, MismatchError

RESAMPLES = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval, in dB."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low > 0


def read_column(path: Path, column: str) -> NDArray[np.float64]:
    """One column of an evaluation's CSV, a value a mixture: [N], in dB.

    Raises:
        DataError: If the file, the column or a number is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        values = np.array([float(row[column]) for row in rows])
    except FileNotFoundError as error:
        raise DataError("no such results", where=path, hint="Run: lqtse evaluate") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"cannot read the column {column!r}", where=path, hint="Run lqtse evaluate again"
        ) from error
    if not len(values):
        raise DataError("the results hold no mixture", where=path, hint="Run lqtse evaluate again")
    return values


def interval(values: NDArray[np.float64], seed: int = 0) -> Interval:
    """The mean of `values` [N] and its bootstrap interval; the same for the same seed."""
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[draws].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def paired(ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int = 0) -> Interval:
    """The mean of `ours - theirs` over the same mixtures, both [N], with its interval.

    Raises:
        MismatchError: If the two have different numbers of mixtures.
    """
    if ours.shape != theirs.shape:
        raise MismatchError(
            "the two evaluations are of different mixtures",
            expected=len(theirs),
            found=len(ours),
            hint="Evaluate both with the same --audio, --where, --mixtures and --seed",
        )
    return interval(ours - theirs, seed)


def table(results: Mapping[str, Path], columns: Mapping[str, str], *, against: str) -> str:
    """A Markdown table: a row a run, a column a metric, and the difference to one run.

    Args:
        results: Name of a run to its CSV.
        columns: Heading to CSV column; the first also gives the difference.
        against: The run that the others are compared with.
    """
    first = next(iter(columns.values()))
    base = read_column(results[against], first)
    headings = [*columns, f"{next(iter(columns))}, minus {against}"]
    lines = [
        f"| condition in training | {' | '.join(headings)} |",
        "|---" * (len(headings) + 1) + "|",
    ]
    for name, path in results.items():
        cells = [str(interval(read_column(path, column))) for column in columns.values()]
        cells.append("" if name == against else str(paired(read_column(path, first), base)))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
