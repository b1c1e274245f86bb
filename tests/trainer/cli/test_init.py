"""`lqtse init` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store import console
from tests.trainer.models.audiosep_files import small, write
from trainer.cli import app


def lqtse(*arguments: object) -> int:
    return console.run(app, "lqtse", [str(argument) for argument in arguments])


def test_init_then_separate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cache_store.spaces import load_space

    path = write(tmp_path / "a.ckpt", small(load_space("tiny", device="cpu").dim))
    run = tmp_path / "run"
    common = ("--space", "tiny", "--device", "cpu", "--json")
    assert lqtse("init", run, "--from", f"audiosep:{path}", *common) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["left_alone"] == "1 tensors of query_encoder, epoch"
    soundfile.write(tmp_path / "in.wav", np.zeros((4000, 1)) + 0.1, 16_000)
    out = tmp_path / "out.wav"
    assert lqtse("separate", run, tmp_path / "in.wav", "--query", "rain", "-o", out) == 0
    assert soundfile.info(out).frames == 4000


def test_a_file_that_is_no_checkpoint_is_bad_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.ckpt").write_text("nothing")
    spec = f"audiosep:{tmp_path / 'a.ckpt'}"
    assert lqtse("init", tmp_path / "run", "--from", spec, "--space", "tiny") == 3
    assert "Traceback" not in capsys.readouterr().err
