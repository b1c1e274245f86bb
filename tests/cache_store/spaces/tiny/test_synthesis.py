"""The building blocks against independent measures: spectra, levels, decay times."""

from __future__ import annotations

import numpy as np
import pytest

from cache_store.spaces.tiny import synthesis

RATE = 16000


def spectrum(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    power = np.abs(np.fft.rfft(signal * np.hanning(signal.size))) ** 2
    return np.fft.rfftfreq(signal.size, 1 / RATE), power


def test_noise_has_unit_power_within_its_band() -> None:
    signal = synthesis.noise(np.random.default_rng(0), RATE, RATE, 1000, 3000)
    frequency, power = spectrum(signal)
    assert np.isclose(np.mean(signal**2), 1)
    inside = power[(frequency > 1000) & (frequency < 3000)].sum() / power.sum()
    # The edges fall by 12 and 24 dB an octave: most, not all, lies inside.
    assert 0.7 < inside < 0.95


def test_tilt_is_in_decibels_an_octave() -> None:
    signal = synthesis.noise(np.random.default_rng(0), 8 * RATE, RATE, 1, 1e6, tilt=-6.0)
    frequency, power = spectrum(signal)

    def band(low: float) -> float:
        return float(np.mean(power[(frequency > low) & (frequency < 1.1 * low)]))

    # Averages over hundreds of bins: half a decibel of chance.
    assert 10 * np.log10(band(500) / band(4000)) == pytest.approx(18, abs=1.5)


@pytest.mark.parametrize("odd", [False, True])
def test_a_buzz_has_its_harmonics_and_nothing_else(odd: bool) -> None:
    tone = synthesis.buzz(np.full(RATE, 500.0), RATE, tilt=-6, odd=odd)
    frequency, power = spectrum(tone)
    near = np.abs(frequency[:, None] - 500 * np.arange(1, 16)[None]).min(axis=1) < 5
    # Linear interpolation of the table leaves a little elsewhere: below -50 dB.
    assert power[~near].sum() / power.sum() < 1e-5
    second = power[np.abs(frequency - 1000) < 5].sum() / power[np.abs(frequency - 500) < 5].sum()
    assert (second < 1e-5) if odd else (10 * np.log10(second) == pytest.approx(-6, abs=0.1))


def test_a_struck_mode_rings_at_its_pitch_and_decays_in_its_time() -> None:
    ring = synthesis.strike(RATE, RATE, np.array([440.0]), np.ones(1), np.array([0.1]))
    time = np.arange(RATE) / RATE
    assert np.allclose(ring, np.sin(2 * np.pi * 440 * time) * np.exp(-time / 0.1), atol=1e-9)


def test_modes_above_nyquist_are_left_out() -> None:
    assert not synthesis.strike(100, RATE, np.array([7900.0]), np.ones(1), np.ones(1)).any()


def test_a_resonance_passes_its_centre_at_unit_gain() -> None:
    time = np.arange(RATE) / RATE
    for frequency, low, high in ((1000.0, 0.95, 1.05), (3000.0, 0.0, 0.1)):
        out = synthesis.resonate(np.sin(2 * np.pi * frequency * time), RATE, (1000,), (100,))
        assert low <= np.abs(out[RATE // 2 :]).max() <= high


def test_wander_is_smooth_and_bounded() -> None:
    curve = synthesis.wander(np.random.default_rng(0), RATE, RATE, 5)
    assert np.abs(curve).max() <= 1
    assert np.abs(np.diff(curve)).max() < 5 * 2 * 1.5 / RATE * 1.01  # steepest of a smoothstep


def test_place_adds_and_cuts() -> None:
    out = synthesis.place(10, 10, [0.0, 0.2, 0.8, 5.0, -1.0], [np.ones(4)] * 5)
    assert out.tolist() == [1, 1, 2, 2, 1, 1, 0, 0, 1, 1]


def test_times_lie_in_the_clip() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for times in (
            synthesis.random_times(rng, 2.0, 3.0),
            synthesis.regular_times(rng, 2.0, 0.3, 0.2),
        ):
            assert times.size and times.min() >= 0 and times.max() < 2.05
            assert (np.diff(times) > 0).all()


def test_grains_keep_their_rate() -> None:
    rng = np.random.default_rng(0)
    out = synthesis.grains(rng, 10 * RATE, RATE, 20, np.array([100.0]), np.array([1e-4]))
    # With a decay of under two samples, every grain is one visible peak.
    starts = np.flatnonzero((np.abs(out) > 0.05) & (np.abs(np.roll(out, 1)) < np.abs(out)))
    assert 150 < starts.size < 260
