"""The commands as a user runs them, in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cache_store import console
from tests.trainer.world import World
from trainer.cli import app


def lqtse(*arguments: object) -> int:
    return console.run(app, "lqtse", [str(argument) for argument in arguments])


def as_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "in.wav"
    samples = 0.1 * np.random.default_rng(0).normal(size=(22_050, 2))
    soundfile.write(path, samples, 22_050)
    return path


@pytest.mark.parametrize("command", ["train", "evaluate", "calibrate", "separate"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert lqtse(command, "--help") == 0
    assert f"lqtse {command} " in capsys.readouterr().out


def test_train_evaluate_separate(
    world: World, tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    settings = {
        "cache": world.cache,
        "audio": world.audio,
        "out": run,
        "where": "fold < 3",
        "valid-where": "fold == 3",
        "strategy": "audio",
        "steps": 2,
        "warmup": 1,
        "batch-size": 2,
        "seconds": 0.25,
        "valid-mixtures": 2,
        "device": "cpu",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    assert lqtse("train", *flags) == 0
    shown = capsys.readouterr().out
    assert "best SDRi, dB" in shown
    assert f"next: lqtse evaluate {run} --audio {world.audio} --where 'fold == 3'" in shown

    results = tmp_path / "results.csv"
    common = ("--audio", world.audio, "--mixtures", 4, "--out", results, "--json")
    assert lqtse("evaluate", run, *common) == 0
    summary = as_json(capsys)
    assert summary["mixtures"] == 4
    assert summary["sdri"]["low"] <= summary["sdri"]["mean"] <= summary["sdri"]["high"]
    assert set(summary["classes"]) <= {"bell", "dog", "rain"}
    assert len(results.read_text().splitlines()) == 5

    out = tmp_path / "out.flac"
    assert lqtse("separate", run, recording, "--query", "a dog", "-o", out, "--residual") == 0
    printed = capsys.readouterr()
    assert "hears up to 4,000 Hz" in printed.err
    assert soundfile.info(out).channels == 2
    assert soundfile.info(tmp_path / "out-residual.flac").frames == 22_050
    words = ("separate", run, recording, "--query", "a dog", "--not", "a rain", "-o", out, "--json")
    assert lqtse(*words) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["not"] == "a rain"
    assert "not trained with negative conditions" in printed.err


def test_a_run_goes_on_without_being_told_its_settings_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    assert lqtse("train", "--out", copy, "--resume", "--json") == 0
    assert as_json(capsys)["resumed_from_step"] == 4


def test_the_summary_tells_of_an_early_end_and_of_what_separates(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "train.toml", tmp_path / "run"
    file.write_text(world.config(out=str(out), steps=40, valid_every=1, lr=0.5).to_toml())
    flags = ("--early-stop", 2, "--ema", 0.01, "--accumulate", 2, "--schedule", "constant")
    assert lqtse("train", "--config", file, *flags, "--json") == 0
    summary = as_json(capsys)
    assert summary["steps"] == summary["best_at_step"] + 2 < 40
    assert summary["ended_early"] == "2 validations without a better one, of 40 steps"
    assert summary["mixtures_a_step"] == 4
    assert summary["separates_with"] == "the average of the weights"
    assert Path(summary["checkpoint"]) == out / "checkpoints" / "best.safetensors"


def test_settings_come_from_the_file_and_flags_win(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.toml"
    file.write_text(world.config(out=str(tmp_path / "run"), seed=5).to_toml())
    assert lqtse("train", "--config", file, "--steps", 2, "--json") == 0
    assert as_json(capsys)["steps"] == 2
    stored = (tmp_path / "run" / "config.toml").read_text()
    assert "seed = 5\n" in stored and "steps = 2\n" in stored


def test_mistakes_are_one_line_and_the_right_exit_code(
    run: Path, world: World, tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    pickled = shutil.copytree(run, tmp_path / "pickled")
    (pickled / "checkpoints" / "best.safetensors").write_bytes(b"\x80\x04N.")
    cases: list[tuple[int, list[object]]] = [
        (2, ["train"]),
        (2, ["train", "--config", tmp_path / "none.toml"]),
        (2, ["train", "--cache", world.cache, "--audio", tmp_path / "none", "--out", out]),
        (3, ["train", "--cache", tmp_path, "--audio", world.audio, "--out", tmp_path / "r"]),
        (3, ["evaluate", tmp_path, "--audio", world.audio]),
        (2, ["evaluate", run, "--audio", world.audio, "--where", "fold = 1"]),
        (3, ["evaluate", run, "--audio", world.audio, "--where", "fold == 9"]),
        (3, ["separate", run, tmp_path / "none.wav", "--query", "a dog", "-o", out]),
        (3, ["separate", run, recording, "--query", "a cat", "-o", out]),
        (3, ["separate", pickled, recording, "--query", "a dog", "-o", out]),
        (3, ["separate", run, recording, "--query", "a dog", "-o", tmp_path / "no" / "out.wav"]),
        (2, ["separate", run, recording, "--query", "a dog", "-o", tmp_path / "out.xyz"]),
        (2, ["separate", run, recording, "--query", "a dog", "-o", recording]),
        (2, ["separate", run, recording, "--query", "a dog", "-o", out, "--subtype", "pcm8"]),
    ]
    for code, arguments in cases:
        assert lqtse(*arguments) == code, arguments
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].lower().startswith("error: "), arguments
        assert not any(line.startswith("Traceback") for line in lines)
    assert not out.exists()
