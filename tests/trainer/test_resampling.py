from __future__ import annotations

import numpy as np
import pytest
import soxr

from tests.trainer.test_streaming import blocks, joined
from trainer.resampling import exactly, resample_blocks


@pytest.mark.parametrize(("source", "target"), [(44_100, 8000), (8000, 48_000), (16_000, 16_000)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resampling_block_by_block_equals_resampling_at_once(
    source: int, target: int, channels: int
) -> None:
    signal = np.random.default_rng(0).normal(size=(channels, 20_011)).astype(np.float32)
    whole = soxr.resample(signal.T, source, target).T
    found = joined(resample_blocks(blocks(signal, 777), channels, source, target))
    assert found.dtype == np.float32
    assert abs(found.shape[1] - whole.shape[1]) <= 1
    size = min(found.shape[1], whole.shape[1])
    np.testing.assert_allclose(found[:, :size], whole[:, :size], atol=2e-5)


def test_a_stream_is_cut_or_filled_to_a_length() -> None:
    ones = np.ones((2, 10), np.float32)
    assert joined(exactly(blocks(ones, 3), 2, 8)).shape == (2, 8)
    longer = joined(exactly(blocks(ones, 3), 2, 12))
    assert longer.shape == (2, 12)
    assert longer[:, 10:].max() == 0
    assert joined(exactly(blocks(ones, 3), 2, 10)).shape == (2, 10)
