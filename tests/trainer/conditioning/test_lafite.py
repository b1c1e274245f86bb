"""`lafite` keeps its share of the audio."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.trainer.conditioning.oracle import random_unit
from trainer.conditioning import build_strategy


@pytest.mark.parametrize("share", [0.0, 0.25, 0.75, 1.0])
def test_the_cosine_is_as_documented(share: float) -> None:
    audio = random_unit(0, 2000, 128)
    strategy = build_strategy("lafite", noise_share=share)
    found = strategy(audio, generator=torch.Generator().manual_seed(0))
    cosines = (found * audio).sum(dim=1)
    expected = (1 - share) / np.sqrt((1 - share) ** 2 + share**2)
    # the noise's own cosine has a standard deviation of 1/√128 = 0.09, and the mean's is 0.002
    assert float(cosines.mean()) == pytest.approx(expected, abs=0.01)
