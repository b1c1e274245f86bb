from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainer.models.unet import FilmUNet, UNetSize

TINY = UNetSize(channels=(4, 6, 8), depth=1, patch=(4, 4), condition=8)


def lively(size: UNetSize = TINY, rate: int = 8000, dim: int = 5) -> FilmUNet:
    """A network whose every layer matters, as after training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FilmUNet(size, condition_dim=dim, sample_rate=rate)
        torch.nn.init.normal_(model.head.weight)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_()  # type: ignore[union-attr]
                layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 1) -> Tensor:
    return torch.nn.functional.normalize(noise(*shape, seed=seed), dim=-1)


@pytest.mark.parametrize("samples", [1, 31, 8000, 8001, 20_480])
def test_an_estimate_is_as_long_as_its_mixture(samples: int) -> None:
    estimate = lively()(noise(2, samples), unit(2, 5))
    assert estimate.shape == (2, samples)
    assert estimate.dtype == torch.float32
    assert estimate.isfinite().all()


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("patch", [(1, 1), (2, 2), (4, 4), (4, 2)])
def test_any_sample_rate_and_patch(rate: int, patch: tuple[int, int]) -> None:
    size = UNetSize(channels=(4, 4, 4), depth=1, patch=patch, condition=4)
    assert lively(size, rate)(noise(1, rate // 4), unit(1, 5)).shape == (1, rate // 4)


def test_masks_are_bounded_and_cover_every_bin() -> None:
    model = lively()
    spectrum = model.stft.analysis(noise(2, 4000))
    mask, angle = model.masks(spectrum, unit(2, 5))
    assert mask.shape == angle.shape == spectrum.shape
    assert mask.min() >= 0 and mask.max() <= 1
    assert angle.abs().max() <= torch.pi + 1e-6


def test_silence_stays_silent() -> None:
    assert lively()(torch.zeros(1, 4000), unit(1, 5)).abs().max() == 0


def test_the_estimate_scales_with_the_mixture() -> None:
    model, mixture, condition = lively(), noise(1, 8000), unit(1, 5)
    quiet = model(0.01 * mixture, condition)
    torch.testing.assert_close(quiet, 0.01 * model(mixture, condition), rtol=1e-3, atol=1e-6)


def test_the_estimate_depends_on_the_condition() -> None:
    model, mixture = lively(), noise(1, 8000)
    difference = model(mixture, unit(1, 5, seed=1)) - model(mixture, unit(1, 5, seed=2))
    assert difference.abs().max() > 1e-3


def test_nothing_beyond_the_reach_matters() -> None:
    model, condition = lively(), unit(1, 5)
    edge, samples = 32_768, 70_000
    assert edge % model.chunk_multiple == 0
    mixture = noise(1, samples)
    other = mixture.clone()
    other[:, :edge] = 0
    level = torch.ones(1)
    changed = (model(mixture, condition, level) - model(other, condition, level)).abs()[0] > 1e-7
    last = int(changed.nonzero().max())
    # The bound holds, and is no wild exaggeration.
    assert edge + model.reach / 2 < last < edge + model.reach


def test_a_chunk_that_begins_on_the_grid_is_treated_as_in_the_whole() -> None:
    model, condition, level = lively(), unit(1, 5), torch.ones(1)
    mixture = noise(1, 70_000)
    start = 8 * model.chunk_multiple
    whole = model(mixture, condition, level)[:, start + model.reach :]
    chunk = model(mixture[:, start:], condition, level)[:, model.reach :]
    torch.testing.assert_close(chunk, whole, rtol=0, atol=1e-5)


def test_every_parameter_is_trained() -> None:
    model = lively().train()
    model(noise(2, 8000), unit(2, 5)).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
