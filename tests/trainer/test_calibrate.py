from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import ConfigError, DataError
from tests.trainer.world import CAPTIONS, World
from trainer.calibrate import CalibrateSettings, calibrate, split_in_halves
from trainer.calibration import read_calibration
from trainer.run import RunFolder
from trainer.separate import Separator


@given(st.integers(0, 1000))
def test_a_recording_is_in_one_half_and_every_kind_in_both(seed: int) -> None:
    kinds = [kind for kind in ("a", "b", "c") for _ in range(6)]
    names = [f"{kind}{number // 2}" for number, kind in enumerate(kinds)]
    settings = CalibrateSettings("held-out", seed=seed)
    one, other = split_in_halves(kinds, names, settings)
    assert sorted(one + other) == list(range(18))
    assert {names[row] for row in one}.isdisjoint({names[row] for row in other})
    for half in (one, other):
        assert {kinds[row] for row in half} == {"a", "b", "c"}
    assert split_in_halves(kinds, names, settings) == (one, other)


def test_too_few_kinds_are_told() -> None:
    with pytest.raises(DataError, match=r"held-out.*at least three labels.*found 2 in one half"):
        split_in_halves(
            ["a", "b"] * 4, [str(row) for row in range(8)], CalibrateSettings("held-out")
        )


def test_all_faults_are_told_together() -> None:
    with pytest.raises(ConfigError) as error:
        CalibrateSettings("x", queries="audio", mixtures=3, seconds=0.0, snr_db=-1, seed=-1)
    for word in ("queries", "mixtures", "seconds", "snr_db", "seed"):
        assert f"`{word}`" in str(error.value)


def test_a_calibrated_run_gives_probabilities_and_forgets_them_with_its_checkpoint(
    run: Path, world: World
) -> None:
    path = RunFolder(run).calibration
    settings = CalibrateSettings(str(world.audio), mixtures=40)
    wave = np.random.default_rng(0).normal(size=4000).astype(np.float32)
    try:
        done = calibrate(run, settings)
        assert done.path == path
        assert read_calibration(path) == done.calibration
        assert done.calibration.full is None
        assert "stored" in done.deaf or "audio" in done.deaf
        assert done.calibration.share.error["judgements"] == 40
        assert calibrate(run, settings).calibration == done.calibration
        separator = Separator.load(run)
        estimate = separator.separate(wave, 8000, query=CAPTIONS[0])
        verdict = separator.judge.assess(wave, estimate, 8000, CAPTIONS[0])
        assert verdict.confidence is not None
        assert 0 < verdict.confidence < 1
    finally:
        path.unlink(missing_ok=True)
    again = Separator.load(run)
    assert again.judge.assess(wave, estimate, 8000, CAPTIONS[0]).confidence is None
