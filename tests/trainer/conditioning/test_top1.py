"""`top1` is the nearest row of the cache."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cache_store.index.exact import ExactIndex
from tests.trainer.conditioning.oracle import nearest, random_unit
from trainer.conditioning import build_strategy


@given(st.integers(1, 8), st.integers(1, 40), st.integers(0, 1000))
def test_it_equals_a_plain_search(clips: int, rows: int, seed: int) -> None:
    audio, matrix = random_unit(seed, clips, 6), random_unit(seed + 1, rows, 6)
    found = build_strategy("top1")(audio, index=ExactIndex(matrix), matrix=matrix)
    wide = matrix.double().numpy()
    expected = [wide[nearest(clip, wide, 1)[0]] for clip in audio.double().numpy()]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)  # float32 norms
