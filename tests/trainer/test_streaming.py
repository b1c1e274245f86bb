from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import soxr
import torch

from tests.trainer.models.test_unet import lively, noise, unit
from trainer.streaming import (
    Chunks,
    exactly,
    measure_level,
    resample_blocks,
    separate_blocks,
    separate_stream,
)


def blocks(signal: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, signal.shape[1], size):
        yield signal[:, start : start + size]


def joined(stream: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(stream), axis=1)


@pytest.mark.parametrize("samples", [1, 8000, 45_056, 45_057, 120_001])
@pytest.mark.parametrize("size", [997, 200_000])
def test_chunks_give_what_one_pass_gives(samples: int, size: int) -> None:
    model, condition = lively(), unit(5)
    mixture = noise(2, samples)
    with torch.no_grad():
        whole = model(mixture, condition.expand(2, -1)).numpy()
    chunks = Chunks.of(model, 1.0)
    level = mixture.square().mean(-1).sqrt()
    found = joined(separate_blocks(model, blocks(mixture.numpy(), size), condition, level, chunks))
    assert found.shape == whole.shape
    # Equal but for the order of float32 sums: no seam.
    np.testing.assert_allclose(found, whole, rtol=0, atol=2e-5 * np.abs(whole).max())


def test_the_weights_of_two_chunks_in_a_row_add_up_to_one() -> None:
    chunks = Chunks.of(lively(), 1.0)
    rise = chunks.rise()
    assert len(rise) == chunks.overlap
    assert rise[0] == 0 and rise[-1] == 1
    assert (rise.diff() >= 0).all()
    fall = 1 - rise
    torch.testing.assert_close(rise.flip(0), fall, rtol=0, atol=1e-6)


def test_what_an_edge_can_spoil_has_no_weight() -> None:
    model = lively()
    chunks = Chunks.of(model, 1.0)
    assert chunks.rise()[: model.reach].max() == 0
    assert chunks.hop % model.chunk_multiple == 0
    assert chunks.length >= 2 * chunks.overlap


def test_memory_is_that_of_a_chunk_however_long_the_recording() -> None:
    model, seen = lively(), []
    forward = model.forward

    def watched(mixture: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(mixture.shape[1])
        return forward(mixture, *rest)

    model.forward = watched  # type: ignore[method-assign]
    chunks = Chunks.of(model, 1.0)
    endless = (np.zeros((1, 8000), np.float32) for _ in range(60))
    pulled = 0
    for block in separate_blocks(model, endless, unit(5), torch.ones(1), chunks):
        pulled += block.shape[1]
        assert block.shape[1] <= chunks.length
    assert pulled == 480_000
    assert max(seen) == chunks.length


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


def test_the_level_is_the_root_mean_square_of_each_channel() -> None:
    signal = np.random.default_rng(0).normal(size=(2, 5000)).astype(np.float32)
    expected = np.sqrt(np.square(signal).mean(axis=1))
    np.testing.assert_allclose(measure_level(blocks(signal, 77), 2).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100])
def test_an_estimate_has_the_recordings_rate_length_and_channels(rate: int) -> None:
    signal = np.random.default_rng(0).normal(size=(2, rate + 13)).astype(np.float32)
    found = separate_stream(
        lively(),
        lambda: blocks(signal, 4096),
        unit(5),
        channels=2,
        sample_rate=rate,
        samples=signal.shape[1],
        seconds=1.0,
    )
    assert joined(found).shape == signal.shape
