"""Mixtures have the level that was asked for, and nothing clips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import AudioError
from trainer.mixing import CEILING, mix, rms


def noise(seed: int, samples: int = 800, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)


def snr_of(target: np.ndarray, interferer: np.ndarray) -> float:
    """The definition, written out in float64."""
    wide, other = target.astype(np.float64), interferer.astype(np.float64)
    return float(10 * np.log10((wide @ wide) / (other @ other)))


@given(
    snr=st.floats(-40, 40),
    count=st.integers(1, 4),
    levels=st.tuples(st.floats(1e-3, 5), st.floats(1e-3, 5)),
)
def test_the_level_is_as_asked(snr: float, count: int, levels: tuple[float, float]) -> None:
    target = noise(0, level=levels[0])
    others = np.stack([noise(seed + 1, level=levels[1] * 2**seed) for seed in range(count)])
    found = mix(target, others, snr)
    # float32 samples carry 24 bits; their sum of squares is right to about 1e-6, 5e-6 dB
    assert snr_of(found.target, found.interferer) == pytest.approx(snr, abs=1e-3)
    np.testing.assert_array_equal(found.mixture, found.target + found.interferer)
    assert found.mixture.dtype == found.target.dtype == np.float32
    assert found.mixture.shape == found.target.shape == found.interferer.shape == (800,)
    assert np.abs(found.mixture).max() <= 1.0


def test_a_mixture_that_fits_leaves_the_target_alone() -> None:
    target = noise(0, level=0.05)
    np.testing.assert_array_equal(mix(target, noise(1)[None], 0.0).target, target)


def test_a_mixture_that_would_clip_is_scaled_as_a_whole() -> None:
    target = noise(0, level=1.0)
    found = mix(target, noise(1)[None], 3.0)
    assert np.abs(found.mixture).max() == pytest.approx(CEILING, rel=1e-6)
    scale = found.target[0] / target[0]
    np.testing.assert_allclose(found.target, scale * target, rtol=1e-5)
    assert snr_of(found.target, found.interferer) == pytest.approx(3.0, abs=1e-4)


def test_interferers_share_the_level_evenly() -> None:
    loud, faint = noise(1, level=1.0), noise(2, level=1e-3)
    found = mix(noise(0, level=0.01), np.stack([loud, faint]), 0.0)
    parts = np.stack([loud / rms(loud), faint / rms(faint)]).sum(axis=0)
    scaled = parts * rms(found.interferer) / rms(parts)
    np.testing.assert_allclose(found.interferer, scaled, atol=1e-8)  # of 0.01; float32


@pytest.mark.parametrize(
    ("target", "others", "why"),
    [
        (np.zeros(8), np.ones((1, 8)), "target is silent"),
        (np.ones(8), np.stack([np.ones(8), np.zeros(8)]), "interferer is silent"),
        (np.ones(8), np.stack([np.ones(8), -np.ones(8)]), "cancel"),
    ],
)
def test_silence_cannot_be_mixed(target: np.ndarray, others: np.ndarray, why: str) -> None:
    with pytest.raises(AudioError, match=why):
        mix(target.astype(np.float32), others.astype(np.float32), 0.0)


@pytest.mark.parametrize("scale", [1e-18, 1e-9, 1.0, 1e6])
@pytest.mark.parametrize("snr_db", [-30.0, 0.0, 7.5])
def test_two_sounds_are_mixed_as_the_formulas_say_at_any_level(scale: float, snr_db: float) -> None:
    rng = np.random.default_rng(3)
    target, noise = (0.2 * rng.normal(size=(2, 2000))).astype(np.float32)
    noise = (noise * scale).astype(np.float32)
    found = mix(target, noise[np.newaxis], snr_db)
    t, n = target.astype(np.float64), noise.astype(np.float64)
    n *= np.sqrt(np.mean(t**2) / np.mean(n**2)) / 10 ** (snr_db / 20)
    shrink = min(1.0, 0.9 / np.abs(t + n).max()) if np.abs(t + n).max() > 1 else 1.0
    # A few roundings of float32, each of 6e-8 of the largest value.
    for values, exact in ((found.mixture, t + n), (found.target, t), (found.interferer, n)):
        np.testing.assert_allclose(values, exact * shrink, atol=3e-7)
    np.testing.assert_array_equal(found.mixture, found.target + found.interferer)
