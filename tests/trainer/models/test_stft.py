from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from trainer.models.stft import Stft, pad_frames, window_length


@pytest.mark.parametrize("samples", [1, 100, 256, 8000, 8191])
def test_synthesis_undoes_analysis(samples: int) -> None:
    stft = Stft(256)
    signal = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    back = stft.synthesis(stft.analysis(signal), samples)
    assert back.shape == signal.shape
    # float32 transforms of 256 values: some units in the last place.
    torch.testing.assert_close(back, signal, rtol=0, atol=1e-5)


def test_analysis_equals_scipys() -> None:
    stft = Stft(128)
    signal = np.random.default_rng(0).normal(size=1280)
    ours = stft.analysis(torch.from_numpy(signal)[None].float())[0].numpy()
    _, _, theirs = scipy.signal.stft(
        signal, window=np.sqrt(scipy.signal.get_window("hann", 128)), nperseg=128, noverlap=64
    )
    # scipy divides by the sum of the window.
    theirs = theirs * np.sqrt(scipy.signal.get_window("hann", 128)).sum()
    assert ours.shape == theirs.shape == (65, 21)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_documented_shapes() -> None:
    stft = Stft(256)
    spectrum = stft.analysis(torch.zeros(3, 8000))
    assert spectrum.shape == (3, stft.bins + 1, 8000 // stft.hop + 1)
    assert stft.full(torch.zeros(3, 2, stft.bins, 7)).shape == (3, 2, stft.bins + 1, 7)
    assert pad_frames(torch.zeros(3, 1, 128, 63), 16).shape == (3, 1, 128, 64)
    assert pad_frames(torch.zeros(3, 1, 128, 64), 16).shape == (3, 1, 128, 64)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("multiple", [16, 64])
def test_a_window_is_about_32_ms_and_can_be_halved_often_enough(rate: int, multiple: int) -> None:
    window = window_length(rate, multiple)
    assert window % (2 * multiple) == 0
    assert window / rate == pytest.approx(0.032, rel=0.35)
