"""`topk-mean` is the mean of the nearest rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cache_store.index.exact import ExactIndex
from tests.trainer.conditioning.oracle import nearest, random_unit, unit
from trainer.conditioning import build_strategy


@given(st.integers(1, 8), st.integers(1, 40), st.integers(1, 50), st.integers(0, 1000))
def test_it_equals_a_plain_mean(clips: int, rows: int, k: int, seed: int) -> None:
    audio, matrix = random_unit(seed, clips, 6), random_unit(seed + 1, rows, 6)
    found = build_strategy("topk-mean", k=k)(audio, index=ExactIndex(matrix), matrix=matrix)
    wide = matrix.double().numpy()
    means = [wide[nearest(clip, wide, k)].mean(axis=0) for clip in audio.double().numpy()]
    for row, mean in zip(found.numpy(), means, strict=True):
        # a mean of opposite vectors can be short, and its direction then badly conditioned
        np.testing.assert_allclose(row, unit(mean), atol=1e-6 / np.linalg.norm(mean))


def test_k_beyond_the_cache_takes_all() -> None:
    audio, matrix = random_unit(0, 2, 4), random_unit(1, 3, 4)
    found = build_strategy("topk-mean", k=100)(audio, index=ExactIndex(matrix), matrix=matrix)
    expected = unit(matrix.double().numpy().mean(axis=0))
    np.testing.assert_allclose(found.numpy(), [expected, expected], atol=1e-6)
