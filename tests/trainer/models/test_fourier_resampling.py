from __future__ import annotations

import pytest
import soxr
import torch

from trainer.models.fourier_resampling import resample

RATES = [(8000, 48_000), (32_000, 48_000), (44_100, 48_000), (48_000, 16_000), (22_050, 16_000)]


@pytest.mark.parametrize(("before", "after"), RATES)
def test_a_sound_is_what_soxr_makes_of_it(before: int, after: int) -> None:
    time = torch.arange(before) / before
    # Tones below half of either rate, faded in and out: soxr has edges of its own.
    sound = sum(torch.sin(2 * torch.pi * hz * time) for hz in (100, 1700, 3500)) / 3
    sound = sound * torch.hann_window(before, periodic=False)
    ours = resample(sound[None], before, after)[0]
    theirs = torch.from_numpy(soxr.resample(sound.numpy(), before, after, quality="VHQ"))
    assert ours.shape == theirs.shape
    # Both are right to better than 80 dB.
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("samples", [1, 2, 441, 1000])
@pytest.mark.parametrize(("before", "after"), RATES)
def test_any_length_comes_out_as_long_as_it_lasts(samples: int, before: int, after: int) -> None:
    out = resample(torch.ones(2, samples), before, after)
    assert out.shape == (2, -(-samples * after // before))
    assert torch.isfinite(out).all()


def test_what_is_above_half_the_lower_rate_is_gone() -> None:
    time = torch.arange(48_000, dtype=torch.float64) / 48_000
    sound = (torch.sin(2 * torch.pi * 12_000 * time) * torch.hann_window(48_000)).float()
    assert resample(sound[None], 48_000, 16_000).abs().max() < 1e-3


def test_the_same_rate_is_no_change() -> None:
    sound = torch.randn(1, 100)
    assert resample(sound, 8000, 8000) is sound
