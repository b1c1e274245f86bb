from __future__ import annotations

import pytest
import torch

from cache_store.errors import UsageError
from trainer.config import LOSSES as CONFIGURABLE
from trainer.losses import LOSSES, build_loss
from trainer.metrics import sdr, si_sdr


def test_each_loss_is_what_its_name_says() -> None:
    estimate, target = torch.randn(3, 100), torch.randn(3, 100)
    assert build_loss("snr")(estimate, target) == -sdr(estimate, target).mean()
    assert build_loss("si_sdr")(estimate, target) == -si_sdr(estimate, target).mean()
    assert build_loss("l1")(estimate, target) == (estimate - target).abs().mean()


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_downhill_lowers_it(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(3, 100, generator=generator)
    estimate = (target + torch.randn(3, 100, generator=generator)).requires_grad_()
    loss = build_loss(name)(estimate, target)
    (gradient,) = torch.autograd.grad(loss, estimate)
    assert gradient.isfinite().all()
    assert build_loss(name)(estimate - 0.1 * gradient, target) < loss


@pytest.mark.parametrize("name", LOSSES)
def test_a_silent_target_has_a_finite_gradient(name: str) -> None:
    estimate = torch.randn(1, 100, requires_grad=True)
    build_loss(name)(estimate, torch.zeros(1, 100)).backward()
    assert estimate.grad is not None and estimate.grad.isfinite().all()


def test_every_configurable_loss_is_there() -> None:
    assert set(CONFIGURABLE) <= set(LOSSES)


def test_an_unknown_loss_is_told() -> None:
    with pytest.raises(UsageError, match="no such loss: l2"):
        build_loss("l2")
