"""The demo, small, for real: every public command in a process of its own, from sound to table."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from cache_store import console
from pipeline.cli import PROG, app
from pipeline.demo import KINDS, choose_backend

SMALL = ("--backend", "grammar", "-n", "24", "--steps", "51", "--mixtures", "8")


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "demo", str(folder)]
    return subprocess.run(
        [*command, *SMALL], capture_output=True, text=True, check=False, timeout=280
    )


def test_the_demo_ends_with_a_table_and_does_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    first = demo(folder)
    assert first.returncode == 0, first.stderr[-2000:]
    assert "no language model is involved" in first.stdout
    lines = first.stdout.splitlines()
    header = lines.index("| run | SDRi, dB | SI-SDRi, dB | SDRi, minus audio |")
    assert [line.split()[1] for line in lines[header + 2 : header + 4]] == ["audio", "top1"]
    for name in ("audio.csv", "top1.csv"):
        with (folder / name).open(newline="") as file:
            assert len(list(csv.DictReader(file))) == 8
    mixture = soundfile.info(folder / "sounds-top1" / "0000-mixture.wav")
    for name in ("separated.wav", "separated-residual.wav"):
        info = soundfile.info(folder / name)
        assert (info.frames, info.samplerate) == (mixture.frames, mixture.samplerate)

    again = demo(folder)
    assert again.returncode == 0, again.stderr[-2000:]
    commands = [line for line in again.stdout.splitlines() if line.startswith("$ lqtse")]
    assert again.stdout.count("(done before)") == len(commands) - 1  # the table is shown anew


def test_the_demo_leaves_other_folders_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert console.run(app, PROG, ["demo", str(tmp_path)]) == 3
    assert "holds other files" in capsys.readouterr().err


def test_the_backend_is_one_that_is_there() -> None:
    assert choose_backend() in ("local", "grammar")


def test_sounds_writes_recordings_and_their_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sounds", str(tmp_path / "s"), "--kinds", ",".join(KINDS[:2]), "--per-kind", "2"]
    assert console.run(app, PROG, [*words, "--seconds", "1"]) == 0
    assert "recordings  4" in capsys.readouterr().out
    with (tmp_path / "s" / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted({row["label"] for row in rows}) == sorted(KINDS[:2])
    assert all((tmp_path / "s" / row["path"]).is_file() for row in rows)
    assert console.run(app, PROG, ["sounds", str(tmp_path / "t"), "--kinds", "unicorn"]) == 2
    assert "unicorn" in capsys.readouterr().err
