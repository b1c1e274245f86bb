"""Comparisons: pairing, the same mixtures, the table, and bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.errors import DataError, MismatchError, UsageError
from trainer.compare import difference, mean_of, parse_named, read_results, table


def write(path: Path, values: object, prefix: str = "t") -> Path:
    rows = "".join(f"{prefix}{i}.wav,n.wav,0.0,{v}\n" for i, v in enumerate(np.asarray(values)))
    path.write_text("target,interferer,snr_db,sdri\n" + rows)
    return path


def test_pairing_cancels_what_mixtures_share(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    hard = rng.normal(0.0, 10.0, 100)
    ours = read_results("ours", write(tmp_path / "a.csv", hard + rng.normal(0.5, 0.1, 100)))
    theirs = read_results("theirs", write(tmp_path / "b.csv", hard))
    gap = difference(ours, theirs, "sdri")
    alone = mean_of(theirs, "sdri")
    assert 0.4 < gap.low < gap.mean < gap.high < 0.6
    # A hundredfold smaller spread, a hundredfold narrower interval.
    assert gap.high - gap.low < (alone.high - alone.low) / 50


def test_evaluations_of_other_mixtures_are_not_compared(tmp_path: Path) -> None:
    ours = read_results("ours", write(tmp_path / "a.csv", [1.0, 2.0]))
    theirs = read_results("theirs", write(tmp_path / "b.csv", [1.0, 2.0], prefix="u"))
    with pytest.raises(MismatchError, match="different mixtures"):
        difference(ours, theirs, "sdri")


def test_table_has_a_row_an_evaluation(tmp_path: Path) -> None:
    audio = write(tmp_path / "a.csv", [1.0, 2.0, 3.0])
    top1 = write(tmp_path / "top1.csv", [2.0, 3.0, 4.0])
    lines = table(parse_named([f"audio={audio}", str(top1)]), ["sdri"]).splitlines()
    assert lines[0] == "| run | SDRi, dB | SDRi, minus audio |"
    assert lines[1] == "|---|---|---|"
    assert lines[2].startswith("| audio | 2.00 [")
    assert lines[3].startswith("| top1 | 3.00 [")
    assert lines[3].endswith("| 1.00 [1.00, 1.00] |")


def test_bad_results_are_told_in_one_line(tmp_path: Path) -> None:
    good = write(tmp_path / "a.csv", [1.0])
    with pytest.raises(DataError, match="no such results"):
        read_results("x", tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot read the column 'sar'"):
        read_results("x", good).column("sar")
    with pytest.raises(DataError, match="hold no mixture"):
        read_results("x", write(tmp_path / "b.csv", []))
    with pytest.raises(UsageError, match="the same name"):
        parse_named([str(good), str(good)])
