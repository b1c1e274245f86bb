"""`lqtse compare`: a table for people, an object for machines, one line for a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cache_store import console
from trainer.cli import PROG, app


@pytest.fixture
def results(tmp_path: Path) -> tuple[str, str]:
    head = "target,interferer,snr_db,sdri,si_sdri\n"
    (tmp_path / "a.csv").write_text(head + "a,b,0,1,2\nc,d,0,2,3\n")
    (tmp_path / "b.csv").write_text(head + "a,b,0,1.5,2\nc,d,0,2,3\n")
    return f"audio={tmp_path / 'a.csv'}", f"top1={tmp_path / 'b.csv'}"


def test_table(results: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(app, PROG, ["compare", *results]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| run | SDRi, dB | SI-SDRi, dB | SDRi, minus audio |"
    assert lines[3].startswith("| top1 | 1.75 ")
    assert lines[3].endswith("0.25 [0.00, 0.50] |")


def test_json(results: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert console.run(app, PROG, ["compare", *results, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["top1"]["difference"] == {"mean": 0.25, "low": 0.0, "high": 0.5}
    assert "difference" not in record["audio"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.csv"], 3, "no such results"),
        (["--metrics", ","], 2, "no metric"),
        (["--metrics", "sar"], 3, "cannot read the column 'sar'"),
    ],
)
def test_mistakes(
    results: tuple[str, str],
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert console.run(app, PROG, ["compare", results[0], *words]) == code
    assert said in capsys.readouterr().err
