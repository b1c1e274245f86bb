"""`audio` is the audio embedding itself."""

from __future__ import annotations

import torch

from tests.trainer.conditioning.oracle import random_unit
from trainer.conditioning import build_strategy


def test_it_is_the_embedding_at_unit_norm() -> None:
    audio = random_unit(0, 3, 8)
    torch.testing.assert_close(build_strategy("audio")(3.0 * audio), audio)
