"""`softmax` weighs the nearest rows by their scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.index.exact import ExactIndex
from tests.trainer.conditioning.oracle import nearest, random_unit, unit
from trainer.conditioning import build_strategy


@given(
    st.integers(1, 40), st.integers(1, 50), st.sampled_from([0.01, 0.05, 1.0]), st.integers(0, 999)
)
def test_it_equals_the_formula(rows: int, k: int, temperature: float, seed: int) -> None:
    audio, matrix = random_unit(seed, 4, 6), random_unit(seed + 1, rows, 6)
    strategy = build_strategy("softmax", k=k, temperature=temperature)
    found = strategy(audio, index=ExactIndex(matrix), matrix=matrix)
    wide = matrix.double().numpy()
    for row, clip in zip(found.numpy(), audio.double().numpy(), strict=True):
        best = wide[nearest(clip, wide, k)]
        weights = np.exp((best @ clip - (best @ clip).max()) / temperature)
        total = (weights[:, None] * best).sum(axis=0) / weights.sum()
        # scores are float32 (6e-8) before they are divided by the temperature
        tolerance = 2e-6 * (1 + 0.1 / temperature) / np.linalg.norm(total)
        np.testing.assert_allclose(row, unit(total), atol=tolerance)


@pytest.mark.parametrize(("temperature", "other"), [(1e-5, "top1"), (1e5, "topk-mean")])
def test_cold_is_top1_and_hot_is_the_mean(temperature: float, other: str) -> None:
    audio, matrix = random_unit(0, 4, 6), random_unit(1, 20, 6)
    index = ExactIndex(matrix)
    one = build_strategy("softmax", k=5, temperature=temperature)(audio, index=index, matrix=matrix)
    two = build_strategy(other, k=5)(audio, index=index, matrix=matrix)
    np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-4)
