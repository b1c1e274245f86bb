"""Set the results of several evaluations side by side: means, intervals, paired differences.

Reads the CSV files that `lqtse evaluate` writes, one row a mixture. A difference is taken mixture
by mixture before it is bootstrapped, so that the spread between easy and hard mixtures cancels;
that needs evaluations of the same mixtures, which is checked by their targets and interferers.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache_store.errors import DataError, MismatchError, UsageError
from trainer.intervals import Interval, bootstrap_mean

TITLES = {"sdri": "SDRi", "si_sdri": "SI-SDRi", "sdr": "SDR", "si_sdr": "SI-SDR"}
TITLES |= {"bss_sdri": "BSS-eval SDRi", "bss_sdr": "BSS-eval SDR"}
TITLES |= {"level": "level to the mixture", "level_absent": "level with an absent query"}
COSINES = {"clap_score": "CLAPScore", "clap_score_i": "CLAPScore-i"}
COSINES |= {"clap_score_target": "CLAPScore with the target", "ref_clap_score": "RefCLAPScore"}
IDENTITY = ("target", "interferer", "snr_db")  # what makes two rows the same mixture


@dataclass(frozen=True)
class Results:
    """One evaluation: its name and its rows, column by column as text."""

    name: str
    path: Path
    rows: tuple[Mapping[str, str], ...]

    def column(self, name: str) -> list[float]:
        """The values of a metric, one a mixture.

        Raises:
            DataError: If the column is missing or holds something else than numbers.
        """
        try:
            return [float(row[name]) for row in self.rows]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"cannot read the column {name!r}", where=self.path, hint="Run: lqtse evaluate"
            ) from error

    def mixtures(self) -> list[tuple[str, ...]]:
        """What identifies each mixture."""
        return [tuple(row.get(name, "") for name in IDENTITY) for row in self.rows]

    def targets(self) -> list[str]:
        """The target recording of each mixture, the group of the bootstrap."""
        return [row.get("target", str(index)) for index, row in enumerate(self.rows)]


def read_results(name: str, path: Path) -> Results:
    """Read one file of `lqtse evaluate`.

    Raises:
        DataError: If there is none, or it holds no mixture.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = tuple(csv.DictReader(file))
    except FileNotFoundError as error:
        raise DataError("no such results", where=path, hint="Run: lqtse evaluate") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError("not a CSV file of results", where=path) from error
    if not rows:
        raise DataError("the results hold no mixture", where=path, hint="Run: lqtse evaluate")
    return Results(name, path, rows)


def parse_named(arguments: Sequence[str]) -> list[Results]:
    """Read `NAME=FILE` arguments; without a name, the file's own name without its ending.

    Raises:
        UsageError: If two have the same name.
        DataError: As `read_results`.
    """
    results: list[Results] = []
    for argument in arguments:
        name, sign, path = argument.partition("=")
        results.append(
            read_results(name, Path(path)) if sign else read_results(Path(name).stem, Path(name))
        )
    names = [result.name for result in results]
    if len(set(names)) < len(names):
        raise UsageError(
            "two results have the same name",
            found=", ".join(names),
            hint="Name them: audio=a/results.csv top1=b/results.csv",
        )
    return results


def title(metric: str) -> str:
    """What a metric is called in a table, with its unit: "SDRi, dB"."""
    return COSINES.get(metric) or f"{TITLES.get(metric, metric)}, dB"


def mean_of(results: Results, metric: str) -> Interval:
    """The mean of a metric over the mixtures, its interval over target recordings."""
    return bootstrap_mean(results.column(metric), results.targets())


def check_same(results: Sequence[Results]) -> None:
    """Make sure that all results are of the same mixtures, in the same order.

    Raises:
        MismatchError: If two are not; both are named.
    """
    for one in results[1:]:
        if one.mixtures() != results[0].mixtures():
            raise MismatchError(
                "the two evaluations are of different mixtures",
                where=f"{results[0].path} and {one.path}",
                hint="Evaluate both with the same --audio, --where, --mixtures, --snr and --seed",
            )


def difference(ours: Results, theirs: Results, metric: str) -> Interval:
    """The mean of `ours - theirs`, mixture by mixture.

    Raises:
        MismatchError: If the two are of different mixtures.
    """
    check_same([ours, theirs])
    pairs = zip(ours.column(metric), theirs.column(metric), strict=True)
    return bootstrap_mean([mine - yours for mine, yours in pairs], ours.targets())


def table(results: Sequence[Results], metrics: Sequence[str]) -> str:
    """A Markdown table: a row an evaluation, a column a metric, the difference to the first.

    Args:
        results: At least one; the others are compared with the first, by the first metric.
        metrics: Columns of the CSV files.
    """
    base = results[0]
    headings = [title(metric) for metric in metrics]
    if len(results) > 1:
        headings.append(f"{headings[0].removesuffix(', dB')}, minus {base.name}")
    lines = [f"| run | {' | '.join(headings)} |", "|---" * (len(headings) + 1) + "|"]
    for one in results:
        cells = [str(mean_of(one, metric)) for metric in metrics]
        if len(results) > 1:
            cells.append("" if one is base else str(difference(one, base, metrics[0])))
        lines.append(f"| {one.name} | {' | '.join(cells)} |")
    return "\n".join(lines)
