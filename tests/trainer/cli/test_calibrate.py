from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.cli.test_cli import as_json, lqtse, recording
from tests.trainer.world import CAPTIONS, World
from trainer.run import RunFolder

__all__ = ["recording"]


def test_after_calibrate_separate_says_how_likely_a_sound_is(
    run: Path, world: World, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ("separate", run, recording, "-q", CAPTIONS[0])
    try:
        assert lqtse(*ask, "-o", tmp_path / "before.wav", "--json") == 0
        assert as_json(capsys).get("confidence") is None
        assert lqtse("calibrate", run, "--audio", world.audio, "--mixtures", 40, "--json") == 0
        found = as_json(capsys)
        assert found["evidence"] == "energy share"
        assert 0 <= found["auroc"] <= 1
        assert found["judgements"] == 40
        assert Path(found["file"]) == RunFolder(run).calibration
        assert lqtse(*ask, "-o", tmp_path / "after.wav", "--json") == 0
        assert 0 < as_json(capsys)["confidence"] < 1
    finally:
        RunFolder(run).calibration.unlink(missing_ok=True)


def test_what_is_wrong_is_one_line(
    run: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lqtse("calibrate", run, "--audio", world.audio, "--mixtures", 3) == 2
    assert "`mixtures` must be at least 40" in capsys.readouterr().err
    assert lqtse("calibrate", run, "--audio", run / "nothing.csv") == 2
    assert "no such folder or manifest" in capsys.readouterr().err
