"""The conditions of a step, whatever the number of processes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.conditioning.oracle import random_unit
from tests.trainer.world import World
from trainer.conditioning import Conditioner, build_strategy
from trainer.conditioning.negative import steer_away
from trainer.conditions import StepConditions
from trainer.config import TrainConfig

AUDIO = random_unit(0, 12, 8)
CLIPS, OTHERS = torch.tensor([3, 7, 0, 11]), torch.tensor([4, 1, 2, 5])
CPU = torch.device("cpu")


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(cache="c", audio="a", out="o", **changes)


def conditions(strategy: str, settings: TrainConfig, *place: int) -> StepConditions:
    made = Conditioner(build_strategy(strategy), AUDIO)
    return StepConditions(settings, made, CPU, *place)


@pytest.mark.parametrize("negative", [0.0, 0.5])
@pytest.mark.parametrize("strategy", ["audio", "noise", "dropout", "lafite"])
def test_two_processes_draw_what_one_would(strategy: str, negative: float) -> None:
    settings = config(strategy=strategy, negative=negative)
    whole = conditions(strategy, settings)(5, CLIPS, OTHERS)
    parts = [
        conditions(strategy, settings, rank, 2)(5, *(x[2 * rank :][:2] for x in (CLIPS, OTHERS)))
        for rank in range(2)
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)
    assert whole.shape == (4, 8)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize("negative", [0.0, 0.5])
@pytest.mark.parametrize("strategy", ["audio", "noise", "dropout", "lafite"])
def test_accumulated_batches_of_two_processes_draw_what_one_batch_would(
    strategy: str, negative: float
) -> None:
    settings = config(strategy=strategy, negative=negative)
    whole = conditions(strategy, settings)(5, CLIPS, OTHERS)
    settings = settings.replace(accumulate=2)
    parts = [
        conditions(strategy, settings, rank, 2)(
            5, *(x[2 * part + rank :][:1] for x in (CLIPS, OTHERS)), part=part
        )
        for part in range(2)
        for rank in range(2)
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)


@pytest.mark.parametrize("negative", [0.0, 0.5])
@pytest.mark.parametrize("strategy", ["audio", "noise"])
def test_what_is_heard_of_a_clip_takes_its_place(strategy: str, negative: float) -> None:
    settings = config(strategy=strategy, negative=negative)
    targets = torch.arange(4).float()[:, None].expand(4, 5)
    sounds = random_unit(5, 4, 8)

    def hear(crops: Tensor) -> Tensor:
        assert crops.shape[1] == 5
        return sounds[crops[:, 0].long()]

    made = Conditioner(build_strategy(strategy), AUDIO)
    whole = StepConditions(settings, made, CPU, hear=hear)(5, CLIPS, OTHERS, targets)
    parts = [
        StepConditions(settings, made, CPU, rank, 2, hear)(
            5, *(values[2 * rank :][:2] for values in (CLIPS, OTHERS, targets))
        )
        for rank in range(2)
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)
    # The same as a table in which the crops are the clips
    table = AUDIO.clone()
    table[CLIPS] = sounds
    other = StepConditions(settings, Conditioner(build_strategy(strategy), table), CPU)
    torch.testing.assert_close(whole, other(5, CLIPS, OTHERS), rtol=0, atol=1e-6)


def test_another_step_draws_anew() -> None:
    made = conditions("noise", config(strategy="noise"))
    assert not torch.equal(made(0, CLIPS, OTHERS), made(1, CLIPS, OTHERS))
    assert torch.equal(made(0, CLIPS, OTHERS), made(0, CLIPS, OTHERS))


def test_a_share_of_the_mixtures_is_steered_away_from_the_interferer() -> None:
    clips, others = torch.arange(12).repeat(40), torch.arange(12).flip(0).repeat(40)
    made = conditions("audio", config(strategy="audio", negative=0.5, negative_share=0.25))
    found = made(0, clips, others)
    steered = steer_away(AUDIO[clips], AUDIO[others], 0.5)
    as_it_is = (found - AUDIO[clips]).abs().amax(dim=1) < 1e-6
    away = (found - steered).abs().amax(dim=1) < 1e-6
    assert bool((as_it_is ^ away).all())
    # 480 draws at 0.25: a standard deviation of 0.02.
    assert 0.17 < float(away.float().mean()) < 0.33


def test_a_separator_that_takes_negatives_is_given_them_beside_what_is_wanted() -> None:
    clips, others = torch.arange(12).repeat(40), torch.arange(12).flip(0).repeat(40)
    settings = config(strategy="audio", negative=0.5, negative_share=0.25)
    made = Conditioner(build_strategy("audio"), AUDIO)
    found = StepConditions(settings, made, CPU, takes_negative=True)(0, clips, others)
    assert found.shape == (480, 16)
    wanted, unwanted = found.split(8, dim=1)
    torch.testing.assert_close(wanted, AUDIO[clips])
    told = unwanted.abs().amax(dim=1) > 0
    torch.testing.assert_close(unwanted[told], AUDIO[others][told])
    # The same mixtures as are steered away for other separators; 480 draws at 0.25.
    steered = StepConditions(settings, made, CPU)(0, clips, others)
    assert torch.equal(told, (steered - AUDIO[clips]).abs().amax(dim=1) > 1e-6)
    assert 0.17 < float(told.float().mean()) < 0.33
    plain = StepConditions(config(strategy="audio"), made, CPU, takes_negative=True)
    assert plain(0, clips, others).shape == (480, 8)


def test_a_run_says_that_it_heeds_negative_queries(world: World, tmp_path: Any) -> None:
    from trainer import Separator
    from trainer.training import train

    train(world.config(out=str(tmp_path / "run"), negative=0.5, steps=2))
    separator = Separator.load(tmp_path / "run", device="cpu")
    assert separator.record.negative == 0.5
    wanted, unwanted = (separator.condition(text) for text in ("a dog", "a rain"))
    both = separator.condition("a dog", negative="a rain")
    torch.testing.assert_close(both, steer_away(wanted, unwanted, 0.5))
    assert float(both @ unwanted) < float(wanted @ unwanted)
