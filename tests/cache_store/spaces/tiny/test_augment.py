"""Mixing and colouring in the mel domain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cache_store.spaces.tiny import augment, features
from cache_store.spaces.tiny.sounds import synthesise


def mel_of(signal: np.ndarray) -> augment.Mel:
    mel: augment.Mel = features.mel_db(torch.from_numpy(signal.astype(np.float32))[None])[0].numpy()
    return mel


def mean_power(mel: augment.Mel) -> float:
    return float(10 * np.log10(np.mean(10 ** (mel.astype(np.float64) / 10))))


@pytest.fixture(scope="module")
def rain() -> augment.Mel:
    return mel_of(synthesise("rain", np.random.default_rng(0), seconds=2))


@pytest.fixture(scope="module")
def siren() -> augment.Mel:
    return mel_of(synthesise("siren", np.random.default_rng(0), seconds=2))


@pytest.mark.parametrize("snr", [-10.0, 0.0, 10.0])
def test_a_mixture_has_the_asked_ratio(rain: augment.Mel, siren: augment.Mel, snr: float) -> None:
    mixed = augment.mix(siren, rain, snr)
    added = 10 ** (mixed.astype(np.float64) / 10) - 10 ** (siren.astype(np.float64) / 10)
    noise = 10 * np.log10(np.mean(np.maximum(added, 0)))
    assert mean_power(siren) - noise == pytest.approx(snr, abs=0.1)


def test_mel_mixing_is_close_to_mixing_waveforms() -> None:
    rng = np.random.default_rng(0)
    one = synthesise("rain", rng, seconds=2).astype(np.float64)
    two = synthesise("whistle", rng, seconds=2).astype(np.float64)
    level = augment._power_db(mel_of(one)) - augment._power_db(mel_of(two))
    waves = mel_of(one + two * 10 ** (level / 20))
    mels = augment.mix(mel_of(one), mel_of(two), 0.0)
    # Phase terms cancel on average; in one cell they may not.
    assert np.abs(waves - mels).mean() < 1.5


def test_join_puts_one_after_the_other(rain: augment.Mel, siren: augment.Mel) -> None:
    joined = augment.join(siren, rain, np.random.default_rng(0))
    assert joined.shape == siren.shape
    assert np.array_equal(joined[:, :30], siren[:, :30])
    assert np.allclose(np.diff(joined[:, -30:], axis=0), np.diff(rain[:, -30:], axis=0), atol=1e-3)


def test_a_crop_holds_the_sound() -> None:
    mel = np.full((64, 251), -100, dtype=np.float16)
    mel[:, 200:] = -10
    for seed in range(20):
        part = augment.crop(mel, 150, np.random.default_rng(seed))
        assert part.shape == (64, 150) and part.dtype == np.float32
        assert part.max() == -10


def test_colour_and_mask_keep_shape_type_and_range(rain: augment.Mel) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        out = augment.mask(augment.colour(rain, rng), rng)
        assert out.shape == rain.shape and out.dtype == np.float32
        assert np.isfinite(out).all()
        # A mask blanks a part, never all.
        assert np.mean(out > -features.FLOOR_DB) > 0.5


def test_inputs_are_not_changed(rain: augment.Mel, siren: augment.Mel) -> None:
    before = rain.copy(), siren.copy()
    rng = np.random.default_rng(0)
    augment.mix(rain, siren, 0)
    augment.mask(augment.colour(augment.join(rain, siren, rng), rng), rng)
    augment.mask(rain, rng)
    assert np.array_equal(before[0], rain) and np.array_equal(before[1], siren)
