"""`lqtse separate` as a user runs it: in this process, and through real pipes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.trainer.cli.test_cli import as_json, lqtse, recording
from tests.trainer.world import CAPTIONS

__all__ = ["recording"]


def test_several_sounds_go_to_a_folder(
    run: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sounds"
    queries = [part for caption in CAPTIONS[:2] for part in ("-q", caption)]
    words = ("separate", run, recording, *queries, "--out", out, "--residual", "--format", "flac")
    assert lqtse(*words, "--json") == 0
    summary = as_json(capsys)
    assert [sound["query"] for sound in summary["sounds"]] == list(CAPTIONS[:2])
    assert all(0 < sound["energy_share"] < 1 for sound in summary["sounds"])
    assert summary["real_time_factor"] > 0
    assert sorted(path.name for path in out.iterdir()) == [
        "in-a-bell-residual.flac",
        "in-a-bell.flac",
        "in-a-dog-residual.flac",
        "in-a-dog.flac",
    ]
    assert lqtse(*words) == 0
    assert "in-a-bell.flac, energy share" in capsys.readouterr().out


def test_a_folder_goes_on_after_a_failure_and_says_so_at_the_end(
    run: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    recording.rename(folder / "in.wav")
    (folder / "bad.wav").write_bytes(b"not audio")
    words = ("separate", run, folder, "-q", CAPTIONS[0], "--out", tmp_path / "out")
    assert lqtse(*words) == 3
    said = capsys.readouterr()
    assert "left out: bad.wav" in said.err and "recordings" in said.out
    (folder / "bad.wav").unlink()
    assert lqtse(*words, "--json") == 0
    summary = as_json(capsys)
    assert (summary["recordings"], summary["finished_before"], summary["failed"]) == (0, 1, {})


@pytest.mark.parametrize("live", [False, True])
def test_sound_goes_through_pipes(run: Path, recording: Path, live: bool) -> None:
    words = ["separate", str(run), "-", "-q", CAPTIONS[0], "-o", "-", "--chunk-seconds", "0.5"]
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *words, *(["--live"] if live else [])],
        input=recording.read_bytes(),
        capture_output=True,
        check=True,
    )
    found, rate = soundfile.read(io.BytesIO(done.stdout))
    assert (rate, found.shape) == (22_050, (22_050, 2))
    assert np.abs(found).max() > 0
    assert (b"late" in done.stderr) == live


def test_precision_is_checked_and_changes_what_is_done(
    run: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    recording.rename(folder / "in.wav")
    out = tmp_path / "out"
    words = ("separate", run, folder, "-q", CAPTIONS[0], "--out", out)
    assert lqtse(*words, "--precision", "half") == 2
    assert "no such precision: half (expected no | bf16)" in capsys.readouterr().err
    estimates = []
    for precision in ("no", "bf16"):
        assert lqtse(*words, "--precision", precision, "--json") == 0
        summary = as_json(capsys)
        assert (summary["recordings"], summary["finished_before"]) == (1, 0)
        estimates.append(soundfile.read(next(out.glob("*.wav")))[0])
    difference = np.abs(estimates[0] - estimates[1]).max()
    assert 0 < difference < 0.05 * np.abs(estimates[0]).max()


def test_flags_that_do_not_go_together_are_one_line(
    run: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ("separate", run, recording, "-q", CAPTIONS[0])
    out = tmp_path / "out.wav"
    cases: list[tuple[tuple[object, ...], str]] = [
        (one, "say where to write"),
        ((*one, "-o", out, "--out", tmp_path), "say where to write"),
        ((*one, "-q", CAPTIONS[1], "-o", out), "Use --out DIR"),
        (("separate", run, tmp_path, "-q", "x", "-o", out), "a folder gives several sounds"),
        ((*one, "-o", "-", "--residual"), "a pipe holds one sound"),
        ((*one, "-o", out, "--live"), "from pipe to pipe"),
        ((*one, "-o", out, "--channels", "both"), "expected shared | each"),
        ((*one, "-q", CAPTIONS[0], "--out", tmp_path / "x"), "given twice"),
    ]
    for words, message in cases:
        assert lqtse(*words) == 2, words
        assert message in capsys.readouterr().err
    assert not out.exists()


def test_json_stays_json_on_an_error(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("separate", run, tmp_path / "none.wav", "-q", CAPTIONS[0], "-o", tmp_path / "o.wav")
    assert lqtse(*words, "--json") == 3
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "AudioError"
