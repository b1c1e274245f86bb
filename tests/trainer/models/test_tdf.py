from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainer.models.test_unet import noise, unit
from trainer.models import build_model
from trainer.models.tdf import FrequencyTransform, TdfSize, TdfUNet
from trainer.models.unet import log_power
from trainer.streaming import separate_blocks

TINY = TdfSize(channels=(4, 6, 8), depth=1, patch=(4, 4), squeeze=2, condition=8)


def lively(size: TdfSize = TINY, rate: int = 8000, dim: int = 5) -> TdfUNet:
    """A network whose every layer matters, as after training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = size.build(condition_dim=dim, sample_rate=rate)
        nn.init.normal_(model.head.weight)
        for layer in model.modules():
            if isinstance(layer, FrequencyTransform):
                nn.init.normal_(layer.widen.weight, std=0.3)
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()  # type: ignore[union-attr]
                layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model.eval()


@pytest.mark.parametrize("samples", [1, 31, 8000, 8001, 20_480])
def test_an_estimate_is_as_long_as_its_mixture(samples: int) -> None:
    estimate = lively()(noise(2, samples), unit(2, 5))
    assert estimate.shape == (2, samples)
    assert estimate.dtype == torch.float32
    assert estimate.isfinite().all()


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("patch", [(1, 1), (4, 2), (2, 8)])
def test_any_sample_rate_and_patch(rate: int, patch: tuple[int, int]) -> None:
    size = TdfSize(channels=(4, 4), patch=patch, condition=4)
    assert lively(size, rate)(noise(1, rate // 4), unit(1, 5)).shape == (1, rate // 4)


def test_the_mask_is_bounded_and_real() -> None:
    model = lively()
    power = log_power(model.stft.analysis(noise(2, 16 * model.chunk_multiple - 1)))
    mask = model.mask(power, unit(2, 5))
    assert mask.shape == power[:, 0].shape
    assert mask.dtype == torch.float32
    assert mask.min() >= 0 and mask.max() <= 1


def test_an_open_mask_gives_the_mixture_back() -> None:
    model, mixture = lively(), noise(2, 8000)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(30.0)  # type: ignore[union-attr]
        estimate = model(mixture, unit(2, 5))
    torch.testing.assert_close(estimate, mixture, rtol=0, atol=1e-4)


def test_training_begins_at_a_mask_of_one_half() -> None:
    model = build_model("tdf", condition_dim=5, sample_rate=8000)
    mixture = noise(4, 8000)
    estimate = model.train()(mixture, unit(4, 5))
    error = (estimate - mixture / 2).square().mean() / mixture.square().mean()
    assert error < 0.01


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


def test_every_bin_sees_every_other() -> None:
    model = lively(TdfSize(channels=(4, 6), patch=(4, 4), condition=8))
    power = noise(1, 1, model.stft.bins, 32).requires_grad_()
    model.mask(power, unit(1, 5))[:, 0].sum().backward()
    assert power.grad is not None
    assert (power.grad[0, 0].abs().sum(-1) > 0).all()


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


@pytest.mark.parametrize("samples", [1, 45_057, 120_001])
def test_chunks_give_what_one_pass_gives(samples: int) -> None:
    model, condition, mixture = lively(), unit(5), noise(2, samples)
    with torch.no_grad():
        whole = model(mixture, condition.expand(2, -1)).numpy()
    level = mixture.square().mean(-1).sqrt()
    blocks = (block.numpy() for block in mixture.split(9973, dim=1))
    parts = list(separate_blocks(model, blocks, condition, level, 1.0))
    # Equal but for the order of float32 sums, as for the U-Net in test_streaming.py.
    np.testing.assert_allclose(
        np.concatenate(parts, axis=1), whole, rtol=0, atol=2e-5 * np.abs(whole).max()
    )


def test_every_parameter_is_trained() -> None:
    model = lively().train()
    model(noise(2, 8000), unit(2, 5)).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_half_precision_stays_finite_and_close() -> None:
    model, mixture, condition = lively(), noise(2, 8000), unit(2, 5)
    plain = model(mixture, condition)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = model(mixture, condition)
    assert coarse.dtype == torch.float32
    error = (coarse - plain).square().mean() / plain.square().mean()
    # bfloat16 has 8 bits: about -40 dB through a dozen layers of weights that are all large.
    assert error < 10**-2.5


def test_it_learns_in_half_precision_with_finite_gradients() -> None:
    model = lively().train()
    with torch.autocast("cpu", torch.bfloat16):
        model(noise(2, 4000), unit(2, 5)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


class Network(nn.Module):
    """What is exported of a separator: all but its transform."""

    def __init__(self, model: TdfUNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, power: Tensor, condition: Tensor) -> Tensor:
        return self.model.mask(power, condition)


def test_the_network_exports_with_any_number_of_frames() -> None:
    model, condition = lively(), unit(1, 5)
    step = TINY.stride[1]
    frames = step * torch.export.Dim("steps", min=2, max=1000)
    power = noise(1, 1, model.stft.bins, 4 * step)
    program = torch.export.export(
        Network(model), (power, condition), dynamic_shapes=({3: frames}, None)
    )
    longer = noise(1, 1, model.stft.bins, 7 * step)
    exported = program.module()(longer, condition)
    torch.testing.assert_close(exported, model.mask(longer, condition), rtol=1e-5, atol=1e-6)


def test_the_transform_treats_channels_and_frames_alike() -> None:
    block = FrequencyTransform(3, 16, 8, 4).eval()
    nn.init.normal_(block.widen.weight)
    nn.init.zeros_(block.film.weight)
    maps, condition = noise(2, 3, 16, 5), unit(2, 4)
    added = block(maps, condition) - maps
    order = torch.tensor([2, 0, 1])
    permuted = maps[:, order]
    torch.testing.assert_close(block(permuted, condition) - permuted, added[:, order])
    frames = torch.tensor([4, 2, 0, 1, 3])
    turned = maps[..., frames]
    torch.testing.assert_close(block(turned, condition) - turned, added[..., frames])


def test_all_faults_of_a_size_are_told() -> None:
    size = TdfSize(channels=(), patch=(4,), squeeze=0, condition=-1)  # type: ignore[arg-type]
    assert len(size.faults()) == 4
