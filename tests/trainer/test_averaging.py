from __future__ import annotations

import torch
from torch import nn

from trainer.averaging import WeightAverage


def test_it_is_the_exponential_average_of_all_that_it_saw() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    average = WeightAverage(model, 0.3)
    expected = model[0].weight.detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            model[0].weight.normal_()
        model(torch.randn(4, 3, dtype=torch.float64))  # moves the running statistics
        average.update(model, step)
        # (1 + s) / (10 + s) passes 0.3 after the second step.
        decay = {1: 2 / 11, 2: 3 / 12}.get(step, 0.3)
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    torch.testing.assert_close(average.state()["0.weight"], expected)
    assert int(average.state()["1.num_batches_tracked"]) == 5
    assert not torch.equal(average.state()["1.running_mean"], model[1].running_mean)


def test_the_average_neither_learns_nor_moves_its_statistics() -> None:
    average = WeightAverage(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), 0.9)
    before = {name: value.clone() for name, value in average.state().items()}
    out = average.model(torch.randn(4, 3))
    assert not out.requires_grad
    torch.testing.assert_close(dict(average.state()), before, rtol=0, atol=0)
