from __future__ import annotations

import numpy as np
import pytest
import torch

from cache_store.errors import AudioError, UsageError
from tests.trainer.models.test_unet import lively, noise, unit
from trainer.live import LiveSeparation, stream_through
from trainer.streaming import separate_stream


def live(rate: int = 8000, channels: int = 1, seconds: float = 1.0) -> LiveSeparation:
    return LiveSeparation(lively(), unit(5), rate, channels, seconds, shared=True)


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_as_many_samples_come_out_as_go_in(rate: int, channels: int) -> None:
    wave = 0.1 * noise(channels, 5 * rate + 17).numpy()
    work, parts = live(rate, channels), []
    for start in range(0, wave.shape[1], 1000):
        parts.append(work.push(wave[:, start : start + 1000]))
    parts.append(work.finish())
    assert np.concatenate(parts, axis=1).shape == wave.shape
    assert all(part.dtype == np.float32 for part in parts)


@pytest.mark.parametrize("rate", [8000, 44_100])
@pytest.mark.parametrize("seconds", [0.1, 2.0])
def test_what_comes_out_is_never_later_than_was_said(rate: int, seconds: float) -> None:
    work = live(rate, seconds=seconds)
    late, pushed, returned = 0, 0, 0
    for _ in range(100):
        pushed += rate // 10
        returned += work.push(0.1 * noise(1, rate // 10).numpy()).shape[1]
        late = max(late, pushed - returned)
    assert 0.5 * work.latency_seconds < late / rate <= work.latency_seconds + 0.1
    assert returned > 0


def test_a_shorter_delay_costs_more_work() -> None:
    short, long = live(seconds=0.1), live(seconds=10.0)
    assert short.latency_seconds < long.latency_seconds
    assert 1 < long.work < short.work


def test_of_steady_sound_it_gives_what_the_whole_recording_gives() -> None:
    """The level of noise is soon known, so the two differ by how well it is known: about 1 %."""
    wave = 0.1 * noise(1, 80_000).numpy()
    whole = separate_stream(
        lively(), lambda: iter([wave]), unit(5), channels=1, sample_rate=8000, samples=80_000
    )
    expected = np.concatenate(list(whole), axis=1)
    work = live()
    found = np.concatenate([work.push(wave), work.finish()], axis=1)
    assert np.square(found - expected).mean() < 1e-3 * np.square(expected).mean()


def test_the_size_of_blocks_matters_little() -> None:
    wave = 0.1 * noise(1, 30_000).numpy()
    results = []
    for size in (37, 1000, 30_000):
        work = live(seconds=0.1)
        parts = [work.push(wave[:, at : at + size]) for at in range(0, 30_000, size)]
        results.append(np.concatenate([*parts, work.finish()], axis=1))
    # The level is measured up to the end of a block, so the size of blocks matters a little.
    for found in results[1:]:
        assert np.square(found - results[0]).mean() < 1e-2 * np.square(results[0]).mean()


def test_a_stream_has_the_shape_of_its_blocks() -> None:
    wave = 0.1 * noise(1, 20_000).numpy()
    flat = list(stream_through(lambda c: live(channels=c), np.array_split(wave[0], 7)))
    assert all(part.ndim == 1 for part in flat)
    assert sum(map(len, flat)) == 20_000
    deep = list(stream_through(lambda c: live(channels=c), [np.repeat(wave, 2, axis=0)]))
    assert sum(part.shape[1] for part in deep) == 20_000
    assert all(part.shape[0] == 2 for part in deep)
    assert list(stream_through(lambda c: live(channels=c), [])) == []


def test_a_bad_block_is_told() -> None:
    work = live(channels=2)
    for block in (np.zeros((1, 5), np.float32), np.zeros((2, 5), np.int16)):
        with pytest.raises(UsageError, match="cannot separate this block"):
            work.push(block)
    with pytest.raises(AudioError, match="not finite"):
        work.push(np.full((2, 5), np.nan, np.float32))
    assert work.finish().shape == (2, 0)
    for late in (work.finish, lambda: work.push(np.zeros((2, 5), np.float32))):
        with pytest.raises(UsageError, match="was finished"):
            late()
    with pytest.raises(UsageError, match="above 0"):
        live(rate=0)
    assert torch.is_grad_enabled()
