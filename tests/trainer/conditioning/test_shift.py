"""`shift` moves the clips' cloud onto the captions'."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cache_store.errors import UsageError
from tests.trainer.conditioning.oracle import BruteIndex, random_unit, unit
from trainer.conditioning import build_strategy


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_it_equals_the_formula(dtype: torch.dtype) -> None:
    audio, matrix = random_unit(0, 30, 8), random_unit(1, 50, 8).to(dtype)
    strategy = build_strategy("shift").fit(audio, matrix)
    found = strategy(audio[:4], index=BruteIndex(matrix.float()), matrix=matrix)  # type: ignore[arg-type]
    wide = audio.double().numpy()
    offset = matrix.double().numpy().mean(axis=0) - wide.mean(axis=0)
    expected = [unit(clip + offset) for clip in wide[:4]]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_it_has_to_be_fitted() -> None:
    audio, matrix = random_unit(0, 3, 8), random_unit(1, 5, 8)
    with pytest.raises(UsageError, match="not been fitted"):
        build_strategy("shift")(audio, index=BruteIndex(matrix), matrix=matrix)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs a cache"):
        build_strategy("shift").fit(audio, None)
