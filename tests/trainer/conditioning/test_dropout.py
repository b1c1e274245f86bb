"""`dropout` leaves out its share of the dimensions, and the rest as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.trainer.conditioning.oracle import random_unit
from trainer.conditioning import build_strategy


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_the_rest_keeps_its_direction(rate: float) -> None:
    audio = random_unit(0, 400, 64)
    found = build_strategy("dropout", dropout=rate)(
        audio, generator=torch.Generator().manual_seed(0)
    )
    dropped = found == 0
    # 25,600 draws: a standard deviation of at most 0.003
    assert float(dropped.float().mean()) == pytest.approx(rate, abs=0.012)
    kept = torch.where(dropped, 0.0, audio.double())
    expected = kept / kept.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)


def test_an_embedding_that_would_lose_all_is_left_whole() -> None:
    audio = random_unit(0, 300, 2)
    found = build_strategy("dropout", dropout=0.9)(
        audio, generator=torch.Generator().manual_seed(0)
    )
    whole = (found - audio).abs().amax(dim=1) < 1e-6
    assert 200 < int(whole.sum()) < 290  # 0.81 of 300, and 0.01 by keeping both
    torch.testing.assert_close(found.norm(dim=1), torch.ones(300))
