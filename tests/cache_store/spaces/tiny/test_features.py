"""Log-mels against independent formulas and known signals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache_store.spaces.tiny import features


def tone(frequency: float, seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(int(seconds * features.SAMPLE_RATE)) / features.SAMPLE_RATE
    return torch.sin(2 * torch.pi * frequency * time)[None]


@given(st.integers(1, 40_000))
def test_shape(samples: int) -> None:
    mel = features.mel_db(torch.zeros(2, samples))
    assert mel.shape == (2, features.BANDS, 1 + samples // features.HOP)


def test_filters_are_triangles_at_the_mel_points() -> None:
    filters = features.mel_filters().numpy()
    assert filters.shape == (features.N_FFT // 2 + 1, features.BANDS)
    assert (filters >= 0).all() and (filters <= 1).all() and (filters.max(axis=0) >= 0.5).all()
    mels = 2595 * np.log10(1 + np.array([features.LOWEST, features.HIGHEST]) / 700)
    centres = 700 * (10 ** (np.linspace(*mels, features.BANDS + 2)[1:-1] / 2595) - 1)
    hertz = np.arange(features.N_FFT // 2 + 1) * features.SAMPLE_RATE / features.N_FFT
    # A filter's centre of mass lies within a bin and a half of its mel point.
    means = (filters * hertz[:, None]).sum(axis=0) / filters.sum(axis=0)
    assert np.abs(means - centres).max() < 1.5 * features.SAMPLE_RATE / features.N_FFT + 12


@pytest.mark.parametrize("frequency", [100.0, 440.0, 1000.0, 3000.0, 7000.0])
def test_a_tone_lights_its_band(frequency: float) -> None:
    band = int(features.mel_db(tone(frequency))[0, :, 25].argmax())
    mels = 2595 * np.log10(1 + np.array([features.LOWEST, features.HIGHEST, frequency]) / 700)
    expected = (mels[2] - mels[0]) / (mels[1] - mels[0]) * (features.BANDS + 1) - 1
    assert abs(band - expected) <= 1.5


def test_power_is_that_of_a_windowed_transform() -> None:
    signal = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    size, hop = features.N_FFT, features.HOP
    frame = np.pad(signal[0].numpy(), size // 2)[10 * hop : 10 * hop + size].astype(np.float64)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    power = np.abs(np.fft.rfft(frame * hann)) ** 2 / size
    expected = 10 * np.log10(power @ features.mel_filters().numpy() + 1e-16)
    found = features.mel_db(signal)[0, :, 10].numpy()
    assert np.abs(found - expected).max() < 1e-3  # float32 against float64, in dB


@given(st.floats(1e-3, 100.0))
def test_level_changes_nothing(gain: float) -> None:
    signal = torch.randn(1, 16000, generator=torch.Generator().manual_seed(1))
    one, other = (features.normalise(features.mel_db(x)) for x in (signal, gain * signal))
    # float32 rounding of dB values of the order of 100.
    assert torch.allclose(one, other, atol=2e-3)


def test_normalised_values_are_bounded_and_silence_is_the_floor() -> None:
    mel = features.normalise(features.mel_db(tone(500)))
    assert mel.max() == 1 and mel.min() >= -1
    silence = features.normalise(features.mel_db(torch.zeros(1, 8000)))
    assert torch.isfinite(silence).all() and (silence == -1).all()
