from __future__ import annotations

import pytest
import torch

from cache_store.errors import UsageError
from tests.trainer.models.test_unet import lively, noise, unit
from trainer.models import build_model
from trainer.models.base import SeparatorModel
from trainer.models.real_arithmetic import RealSeparator, RealStft
from trainer.models.stft import Stft, pad_frames
from trainer.models.unet import log_power

RATE = 8000


def shaken(name: str, **sizes: object) -> SeparatorModel:
    """A separator whose masks are not all alike."""
    model = build_model(name, sizes, condition_dim=6, sample_rate=RATE)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=generator))
    return model.eval()


def test_the_transform_is_torchs() -> None:
    stft = Stft(256)
    real = RealStft(stft)
    signal = noise(2, 128 * 20)
    expected = stft.analysis(signal)
    parts = real.analysis(signal)
    assert parts[0].shape == (2, 129, 21)
    # Sums of 256 products in float32.
    torch.testing.assert_close(torch.complex(*parts), expected, rtol=0, atol=2e-4)
    torch.testing.assert_close(real.synthesis(*parts), signal, rtol=0, atol=1e-5)


def test_a_transform_of_other_windows_and_a_reflection_is_torchs_too() -> None:
    stft = Stft(256, 40, window=torch.hann_window(256), pad_mode="reflect")
    real = RealStft(stft)
    signal = noise(2, 40 * 20)
    parts = real.analysis(signal)
    torch.testing.assert_close(torch.complex(*parts), stft.analysis(signal), rtol=0, atol=2e-4)
    # What windows disagree on is averaged alike.
    spectrum = stft.analysis(signal) * noise(129, 21)
    found = real.synthesis(spectrum.real, spectrum.imag)
    torch.testing.assert_close(found, stft.synthesis(spectrum, 800), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("small", {}),
        ("tdf", {}),
        ("resunet", {"channels": [4, 6, 8]}),
        ("resunet", {"channels": [4]}),
    ],
)
@pytest.mark.parametrize("blocks", [1, 7])
def test_it_says_what_the_separator_says(name: str, sizes: dict[str, object], blocks: int) -> None:
    model = shaken(name, **sizes)
    real = RealSeparator(model)
    mixture, condition = 0.1 * noise(2, real.block * blocks), unit(2, 6)
    level = torch.tensor([0.1, 0.3])
    with torch.no_grad():
        expected = model(mixture, condition, level)
        found = real(mixture, condition, level)
    assert found.shape == mixture.shape
    assert float(expected.square().mean()) > 1e-6
    error = 10 * torch.log10((found - expected).square().sum() / expected.square().sum())
    assert float(error) < -100


def test_one_frame_a_patch_needs_no_more_frames() -> None:
    model = shaken("small", channels=(8,), patch=(4, 1))
    real = RealSeparator(model)
    mixture, condition, level = noise(1, real.block * 9), unit(1, 6), torch.ones(1)
    with torch.no_grad():
        torch.testing.assert_close(
            real(mixture, condition, level), model(mixture, condition, level), rtol=0, atol=1e-5
        )


def test_another_kind_is_told() -> None:
    class Other(SeparatorModel):
        chunk_multiple = 1
        reach = 0

        def forward(
            self, mixture: torch.Tensor, condition: torch.Tensor, level: torch.Tensor | None = None
        ) -> torch.Tensor:
            return mixture

    with pytest.raises(UsageError, match="--model small, base, tdf or resunet"):
        RealSeparator(Other())


def test_the_parts_of_the_mask_are_those_of_its_polar_form() -> None:
    model = lively()
    spectrum = model.stft.analysis(noise(1, 8000))
    with torch.no_grad():
        mask, angle = model.masks(spectrum, unit(1, model.condition_dim))
        power = log_power(pad_frames(spectrum, model.size.stride[1]))
        real, imaginary = model.complex_mask(power, unit(1, model.condition_dim))
    frames = spectrum.shape[-1]
    torch.testing.assert_close(real[..., :frames], (mask * angle.cos())[:, :-1])
    torch.testing.assert_close(imaginary[..., :frames], (mask * angle.sin())[:, :-1])
