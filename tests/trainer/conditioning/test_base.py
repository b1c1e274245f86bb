"""The parts that strategies share."""

from __future__ import annotations

import pytest
import torch

from cache_store.errors import UsageError
from trainer.conditioning.base import normal, uniform, unit


def test_unit_keeps_zero_and_widens() -> None:
    found = unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float16))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert found.dtype == torch.float32


def test_draws_come_from_the_generator_alone() -> None:
    like = torch.zeros(3, 4, dtype=torch.float16)
    one = normal(like, torch.Generator().manual_seed(5))
    torch.manual_seed(0)
    assert torch.equal(one, normal(like, torch.Generator().manual_seed(5)))
    assert one.dtype == torch.float32
    drawn = uniform(like, (1000,), torch.Generator().manual_seed(5))
    assert 0 <= float(drawn.min()) < 0.01
    assert 0.99 < float(drawn.max()) < 1
    with pytest.raises(UsageError, match="generator"):
        normal(like, None)
