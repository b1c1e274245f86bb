from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.trainer.models.test_unet import lively, noise, unit
from trainer.chunks import Chunks
from trainer.streaming import measure_level, separate_blocks, separate_stream


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
    level = mixture.square().mean(-1).sqrt()
    found = joined(separate_blocks(model, blocks(mixture.numpy(), size), condition, level, 1.0))
    assert found.shape == whole.shape
    # Equal but for the order of float32 sums: no seam.
    np.testing.assert_allclose(found, whole, rtol=0, atol=2e-5 * np.abs(whole).max())


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
    for block in separate_blocks(model, endless, unit(5), torch.ones(1), 1.0):
        pulled += block.shape[1]
        assert block.shape[1] <= chunks.length
    assert pulled == 480_000
    assert max(seen) == chunks.length


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
