"""`noise` adds what it says, or turns by the angle it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.trainer.conditioning.oracle import random_unit
from trainer.conditioning import build_strategy


def test_the_spread_is_sigma() -> None:
    audio = random_unit(0, 2000, 64)
    strategy = build_strategy("noise", noise_std=0.1)
    cosines = (strategy(audio, generator=torch.Generator().manual_seed(0)) * audio).sum(dim=1)
    # (1 + σ n∥) / sqrt(1 + 2 σ n∥ + σ² ‖n‖²), E ‖n‖² = 64
    assert float(cosines.mean()) == pytest.approx(1 / np.sqrt(1 + 64 * 0.1**2), abs=0.01)


def test_no_noise_is_the_audio() -> None:
    audio = random_unit(0, 5, 8)
    found = build_strategy("noise", noise_std=0.0)(audio, generator=torch.Generator())
    torch.testing.assert_close(found, audio)


@pytest.mark.parametrize("angle", [1.0, 30.0, 60.0, 90.0])
def test_an_angle_is_exact_and_its_direction_random(angle: float) -> None:
    audio = random_unit(0, 1, 16).repeat(500, 1)
    strategy = build_strategy("noise", noise_angle=angle)
    found = strategy(audio, generator=torch.Generator().manual_seed(0)).double()
    cosines = (found * audio.double()).sum(dim=1)
    np.testing.assert_allclose(cosines.numpy(), np.cos(np.radians(angle)), atol=1e-6)
    across = found - cosines[:, None] * audio.double()
    assert float((across.mean(dim=0) / np.sin(np.radians(angle))).norm()) < 0.15  # 1/√500 = 0.045
