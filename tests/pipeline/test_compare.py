"""Comparisons: the bootstrap against theory, pairing, the table, and bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.errors import DataError, MismatchError
from pipeline.compare import interval, paired, read_column, table


def write(path: Path, values: object) -> Path:
    rows = "".join(f"{i},{value}\n" for i, value in enumerate(np.asarray(values)))
    path.write_text("mixture,sdri\n" + rows)
    return path


def test_interval_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    # 2,000 resamples place a 2.5 % quantile to about a tenth of its distance from the mean.
    assert found.mean - found.low == pytest.approx(half, rel=0.12)
    assert found.high - found.mean == pytest.approx(half, rel=0.12)
    assert interval(values) == found


def test_pairing_cancels_what_mixtures_share() -> None:
    rng = np.random.default_rng(5)
    hard = rng.normal(0.0, 10.0, 100)
    gain = rng.normal(0.5, 0.1, 100)
    assert paired(hard + gain, hard).above_zero
    assert not interval(hard).above_zero
    with pytest.raises(MismatchError, match="different mixtures"):
        paired(hard, hard[:50])


def test_table_has_a_row_a_run(tmp_path: Path) -> None:
    results = {
        "audio": write(tmp_path / "a.csv", [1.0, 2.0, 3.0]),
        "top1": write(tmp_path / "b.csv", [2.0, 3.0, 4.0]),
    }
    lines = table(results, {"SDRi, dB": "sdri"}, against="audio").splitlines()
    assert lines[0] == "| condition in training | SDRi, dB | SDRi, dB, minus audio |"
    assert lines[2].startswith("| audio | 2.00 [")
    assert lines[3].startswith("| top1 | 3.00 [")
    assert lines[3].endswith("| 1.00 [1.00, 1.00] |")


def test_bad_results_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such results"):
        read_column(tmp_path / "none.csv", "sdri")
    with pytest.raises(DataError, match="cannot read the column 'snr'"):
        read_column(write(tmp_path / "a.csv", [1.0]), "snr")
    with pytest.raises(DataError, match="hold no mixture"):
        read_column(write(tmp_path / "b.csv", []), "sdri")
