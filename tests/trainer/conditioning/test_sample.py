"""`sample` draws one of the nearest rows, each as often."""

from __future__ import annotations

import numpy as np
import torch

from tests.trainer.conditioning.oracle import BruteIndex, nearest, random_unit
from trainer.conditioning import build_strategy


def test_each_of_the_k_nearest_comes_equally_often() -> None:
    audio, matrix = random_unit(0, 1, 8), random_unit(1, 30, 8)
    batch = audio.expand(6000, 8)
    vectors = build_strategy("sample", k=3).combine(
        batch,
        _neighbours(audio, matrix, 3, 6000),
        None,
        torch.Generator().manual_seed(0),
    )
    best = nearest(audio[0].double().numpy(), matrix.double().numpy(), 3)
    counts = [int((vectors - matrix[row]).norm(dim=1).lt(1e-5).sum()) for row in best]
    assert sum(counts) == 6000
    # each 2000 expected, with a standard deviation of 37
    np.testing.assert_allclose(counts, 2000, atol=4 * 37)


def _neighbours(audio: torch.Tensor, matrix: torch.Tensor, k: int, batch: int) -> object:
    from trainer.conditioning import Neighbours

    scores, rows = BruteIndex(matrix).search(audio, k)
    return Neighbours(matrix[rows].expand(batch, k, -1), scores.expand(batch, k))
