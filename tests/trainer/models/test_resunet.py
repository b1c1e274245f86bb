"""A small network of AudioSep's kind. Equality with AudioSep's own is in `test_audiosep.py`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainer.models.test_unet import noise, unit
from trainer.models.resunet import ResUNet, ResUNetSize

TINY = ResUNetSize(channels=(4, 6, 8))


def lively(size: ResUNetSize = TINY, rate: int = 8000, dim: int = 5) -> ResUNet:
    """A network whose every layer matters, as after training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = size.build(condition_dim=dim, sample_rate=rate)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_()  # type: ignore[union-attr]
                layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model.eval()


def plain(model: ResUNet, mixture: Tensor, condition: Tensor) -> Tensor:
    """The way that training goes, whatever evaluation does."""
    with torch.enable_grad():
        return model(mixture, condition).detach()


def test_the_window_and_hop_are_those_of_audiosep_at_its_rate() -> None:
    size = ResUNetSize()
    with torch.device("meta"):
        models = [size.build(condition_dim=8, sample_rate=rate) for rate in (32_000, 8000)]
    assert [(m.stft.length, m.stft.hop) for m in models] == [(2048, 320), (512, 80)]
    # The learned parameters of the 39.0 million that AudioSep counts; the rest are Fourier's.
    with torch.device("meta"):
        whole = size.build(condition_dim=512, sample_rate=32_000)
    assert sum(p.numel() for p in whole.parameters()) == pytest.approx(26e6, rel=0.03)


@pytest.mark.parametrize("samples", [1, 31, 256, 257, 8000, 8001])
def test_an_estimate_is_as_long_as_its_mixture(samples: int) -> None:
    with torch.no_grad():
        estimate = lively()(noise(2, samples), unit(2, 5))
    assert estimate.shape == (2, samples)
    assert estimate.dtype == torch.float32
    assert estimate.isfinite().all()


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("channels", [(4,), (4, 4), (2, 3, 4, 5)])
def test_any_sample_rate_and_depth(rate: int, channels: tuple[int, ...]) -> None:
    model = lively(ResUNetSize(channels=channels), rate)
    assert model(noise(1, rate // 4), unit(1, 5)).shape == (1, rate // 4)


def test_silence_stays_near_silent() -> None:
    assert lively()(torch.zeros(1, 4000), unit(1, 5)).abs().max() < 1e-6


def test_the_estimate_depends_on_the_condition() -> None:
    model, mixture = lively(), noise(1, 8000)
    difference = model(mixture, unit(1, 5, seed=1)) - model(mixture, unit(1, 5, seed=2))
    assert difference.abs().max() > 1e-3


def test_rows_of_a_batch_do_not_meet() -> None:
    model, mixture, condition = lively(), noise(3, 4000), unit(3, 5)
    with torch.no_grad():
        whole = model(mixture, condition)
        rows = torch.cat([model(mixture[i : i + 1], condition[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(whole, rows, rtol=0, atol=1e-5)


@pytest.mark.parametrize("grad", [True, False])
def test_nothing_beyond_the_reach_matters(grad: bool) -> None:
    model, condition = lively(), unit(1, 5)
    edge, samples = 12_800, 26_000
    assert edge % model.chunk_multiple == 0
    mixture = noise(1, samples)
    other = mixture.clone()
    other[:, :edge] = 0
    with torch.set_grad_enabled(grad):
        changed = (model(mixture, condition) - model(other, condition)).abs()[0] > 1e-7
    last = int(changed.nonzero().max())
    # The bound holds, and is no wild exaggeration.
    assert edge + model.reach / 3 < last < edge + model.reach


@pytest.mark.parametrize("grad", [True, False])
def test_a_chunk_that_begins_on_the_grid_is_treated_as_in_the_whole(grad: bool) -> None:
    model, condition = lively(), unit(1, 5)
    mixture = noise(1, 40_000)
    start = 16 * model.chunk_multiple
    with torch.set_grad_enabled(grad):
        whole = model(mixture, condition)[:, start + model.reach :]
        chunk = model(mixture[:, start:], condition)[:, model.reach :]
    torch.testing.assert_close(chunk, whole, rtol=0, atol=1e-5)


def test_every_parameter_is_trained() -> None:
    model = lively().train()
    model(noise(2, 8000), unit(2, 5)).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_silence_gives_gradients_that_are_finite() -> None:
    model = lively().train()
    model(torch.zeros(2, 4000), unit(2, 5)).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
