"""One optimizer step, against the arithmetic done by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from cache_store.errors import DataError
from tests.trainer.conditioning.oracle import random_unit
from trainer.conditioning import Conditioner, build_strategy
from trainer.conditions import StepConditions
from trainer.config import TrainConfig
from trainer.run import RunFolder
from trainer.schedule import learning_rate
from trainer.step import Step

DIM, SAMPLES = 4, 50
EMBEDDINGS = random_unit(0, 6, DIM)


class Gain(nn.Module):
    """A separator that scales the mixture by what the condition says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((DIM,), 0.5))

    def forward(self, mixture: Tensor, condition: Tensor) -> Tensor:
        return mixture * (condition @ self.weight)[:, None]


def batch(seed: int, n: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target, other = torch.randn(2, n, SAMPLES, generator=generator)
    clips = torch.randint(6, (2, n), generator=generator)
    return {
        "mixture": target + other,
        "target": target,
        "clip": clips[0],
        "interferer": clips[1],
    }


def stepper(model: nn.Module, folder: Path, **changes: Any) -> tuple[Step, TrainConfig]:
    config = TrainConfig(
        cache="c", audio="a", out="o", strategy="audio", loss="l1", clip_norm=0.0, **changes
    )
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    conditioner = Conditioner(build_strategy("audio"), EMBEDDINGS)
    conditions = StepConditions(config, conditioner, accelerator.device)
    prepared = accelerator.prepare(model, optimizer)
    return Step(config, RunFolder(folder), accelerator, conditions, *prepared), config


def test_a_step_goes_down_the_mean_gradient_of_its_batches(tmp_path: Path) -> None:
    batches = [batch(1), batch(2)]
    model, oracle = Gain(), Gain()
    take, config = stepper(model, tmp_path, accumulate=2)
    value = take(7, batches)
    loss = torch.stack(
        [
            (oracle(one["mixture"], EMBEDDINGS[one["clip"]]) - one["target"]).abs().mean()
            for one in batches
        ]
    ).mean()
    loss.backward()
    assert oracle.weight.grad is not None
    rate = learning_rate(7, steps=config.steps, peak=config.lr, warmup=config.warmup, kind="cosine")
    assert value == pytest.approx(loss.item(), rel=1e-6)
    # Sums of 100 float32 values of about 1, added in another order.
    expected = oracle.weight.detach() - rate * oracle.weight.grad
    torch.testing.assert_close(model.weight.detach(), expected, rtol=0, atol=1e-7)


def test_a_loss_that_is_not_finite_changes_no_weight(tmp_path: Path) -> None:
    model = Gain()
    take, _ = stepper(model, tmp_path)
    bad = batch(1)
    bad["mixture"][0, 0] = torch.inf
    with pytest.raises(DataError, match=r"the loss is (inf|nan) at step 8") as caught:
        take(7, [bad])
    assert str(tmp_path) in str(caught.value)
    assert model.weight.tolist() == [0.5] * DIM
