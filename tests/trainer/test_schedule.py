from __future__ import annotations

import pytest
import torch

from trainer.schedule import learning_rate


def rates(kind: str, steps: int = 100, warmup: int = 10) -> list[float]:
    return [
        learning_rate(step, steps=steps, peak=2.0, warmup=warmup, kind=kind)
        for step in range(steps)
    ]


def test_it_rises_in_a_line_to_the_peak() -> None:
    assert rates("cosine")[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert max(rates("cosine")) == 2.0


def test_after_the_warm_up_it_is_torchs_cosine() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    expected = []
    for _ in range(90):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates("cosine")[10:] == pytest.approx(expected, abs=1e-9)


def test_after_the_warm_up_it_is_torchs_line() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=90)
    expected = []
    for _ in range(90):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates("linear")[10:] == pytest.approx(expected, abs=1e-9)


def test_constant_stays_at_the_peak() -> None:
    assert set(rates("constant")[9:]) == {2.0}


def test_no_warm_up_begins_at_the_peak_and_a_long_one_never_gets_there() -> None:
    assert rates("cosine", warmup=0)[0] == 2.0
    assert max(rates("cosine", steps=10, warmup=100)) < 2.0
