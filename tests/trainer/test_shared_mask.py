from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainer.models.test_unet import lively, noise, unit
from trainer.shared_mask import SharedMask
from trainer.streaming import separate_stream

RATE = 8000


def masked(mixture: Tensor, estimates: Tensor) -> Tensor:
    return SharedMask(RATE)(mixture, estimates)


def rms_db(error: Tensor, of: Tensor) -> float:
    return float(10 * torch.log10(error.square().mean() / of.square().mean()))


@pytest.mark.parametrize("samples", [1, 100, 8000, 12_345])
def test_a_mask_of_one_gives_the_mixture_back(samples: int) -> None:
    mixture = noise(3, samples)
    torch.testing.assert_close(masked(mixture, mixture), mixture, rtol=0, atol=1e-5)


def test_a_recording_panned_as_a_whole_keeps_its_panning_exactly() -> None:
    gains = torch.tensor([[1.0], [-0.25], [0.5]])
    mixture, estimate = gains * noise(1, 8000), gains * noise(1, 8000, seed=3)
    found = masked(mixture, estimate)
    torch.testing.assert_close(found, gains * found[:1], rtol=0, atol=1e-6)


def test_phases_and_levels_between_the_channels_are_those_of_the_mixture() -> None:
    # Two sources at two places, one of them late in one channel; estimates that differ at random.
    left, right = noise(1, 16_000), noise(1, 16_000, seed=3)
    mixture = torch.cat([left + 0.2 * right, 0.3 * left.roll(3, -1) + right])
    mask = SharedMask(RATE)
    found = mask(mixture, 0.5 * mixture + 0.2 * noise(2, 16_000, seed=4))
    spectra = [
        torch.stft(wave, mask.length, mask.hop, window=mask.window, return_complex=True)
        for wave in (mixture, found)
    ]
    # Only the overlap-add of neighbouring windows, whose masks differ, moves a bin a little.
    between = [spectrum[0] * spectrum[1].conj() for spectrum in spectra]
    weight = between[1].abs() / between[1].abs().sum()
    apart = (between[0] * between[1].conj()).angle().abs()
    assert float((apart * weight).sum()) < 0.2
    one_by_one = 0.5 * mixture + 0.2 * noise(2, 16_000, seed=4)
    other = torch.stft(one_by_one, mask.length, mask.hop, window=mask.window, return_complex=True)
    cross = other[0] * other[1].conj()
    wandering = (between[0] * cross.conj()).angle().abs()
    assert float((wandering * cross.abs() / cross.abs().sum()).sum()) > 0.3


def test_channels_out_of_phase_do_not_cancel() -> None:
    wave = noise(1, 8000)
    mixture = torch.cat([wave, -wave])
    found = masked(mixture, 0.5 * mixture)
    assert rms_db(found - 0.5 * mixture, mixture) < -80


def test_silence_stays_silent() -> None:
    assert masked(torch.zeros(2, 4000), torch.zeros(2, 4000)).abs().max() == 0


@pytest.mark.parametrize("shared", [True, False])
def test_chunks_of_two_channels_have_no_seam(shared: bool) -> None:
    model, wave = lively(), 0.1 * noise(2, 120_001).numpy()

    def separated(seconds: float) -> np.ndarray:
        blocks = separate_stream(
            model,
            lambda: iter([wave]),
            unit(1, 5),
            channels=2,
            sample_rate=RATE,
            samples=wave.shape[1],
            seconds=seconds,
            shared=shared,
        )
        return np.concatenate(list(blocks), axis=2)[0]

    whole, cut = separated(100.0), separated(1.0)
    np.testing.assert_allclose(cut, whole, rtol=0, atol=3e-5 * np.abs(whole).max())


def test_a_source_panned_in_a_mixture_of_others_is_where_it_was() -> None:
    """What `lqtse separate` gives of a panned recording: one channel is the other times a gain."""
    wave = 0.1 * noise(1, 30_000).numpy()
    panned = np.concatenate([0.9 * wave, 0.3 * wave])
    blocks = separate_stream(
        lively(),
        lambda: iter([panned]),
        unit(5),
        channels=2,
        sample_rate=11_025,
        samples=30_000,
    )
    found = np.concatenate(list(blocks), axis=1)
    assert np.abs(found).max() > 1e-3
    np.testing.assert_allclose(found[0], 3 * found[1], atol=1e-5 * np.abs(found).max())
