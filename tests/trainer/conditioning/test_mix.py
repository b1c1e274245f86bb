"""`mix` lies on the arc between the clip and its nearest caption."""

from __future__ import annotations

import numpy as np
import torch

from tests.trainer.conditioning.oracle import BruteIndex, random_unit
from trainer.conditioning import build_strategy


def test_conditions_are_combinations_of_both_with_uniform_weights() -> None:
    one = random_unit(0, 1, 8)
    matrix = random_unit(1, 20, 8)
    audio = one.repeat(4000, 1)
    found = build_strategy("mix")(
        audio,
        index=BruteIndex(matrix),  # type: ignore[arg-type]
        matrix=matrix,
        generator=torch.Generator().manual_seed(0),
    ).double()
    text = matrix[BruteIndex(matrix).search(one, 1)[1][0, 0]].double()
    basis = torch.stack([one[0].double(), text], dim=1)
    weights = torch.linalg.lstsq(basis, found.T).solution.T  # [4000, 2], up to each one's norm
    np.testing.assert_allclose((weights @ basis.T).numpy(), found.numpy(), atol=1e-6)
    share = (weights[:, 0] / weights.sum(dim=1)).numpy()
    assert share.min() >= -1e-6
    assert share.max() <= 1 + 1e-6
    deciles = np.quantile(share, np.linspace(0.1, 0.9, 9))
    # a decile of 4000 uniform draws has a standard deviation of at most 0.008
    np.testing.assert_allclose(deciles, np.linspace(0.1, 0.9, 9), atol=0.032)
