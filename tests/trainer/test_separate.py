from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cache_store.errors import AudioError, DataError, UsageError
from tests.trainer.world import CAPTIONS, DIM, text_vectors
from trainer import Separator

RATE = 8000


@pytest.fixture(scope="module")
def separator(run: Path) -> Separator:
    loaded = Separator.load(run, device="cpu")
    # Four steps leave a mask of one half: make the layers matter, so that errors show.
    torch.nn.init.normal_(
        loaded.model.head.weight, std=0.3, generator=torch.Generator().manual_seed(0)
    )
    return loaded


def noise(*shape: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).normal(size=shape)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("channels", [None, 1, 2])
def test_the_estimate_has_the_shape_of_the_waveform(
    separator: Separator, rate: int, channels: int | None
) -> None:
    wave = noise(*([rate] if channels is None else [channels, rate]))
    estimate = separator.separate(wave, rate, query=CAPTIONS[0])
    assert estimate.shape == wave.shape
    assert estimate.dtype == np.float32
    assert np.abs(estimate).max() > 0


def test_channels_are_separated_one_by_one_if_asked_to(separator: Separator) -> None:
    wave = noise(2, RATE)
    both = separator.separate(wave, RATE, query=CAPTIONS[0], shared=False)
    for channel in range(2):
        alone = separator.separate(wave[channel], RATE, query=CAPTIONS[0])
        np.testing.assert_allclose(both[channel], alone, atol=1e-6)


def test_a_query_and_its_embedding_ask_for_the_same(separator: Separator) -> None:
    wave = noise(RATE)
    by_text = separator.separate(wave, RATE, query=CAPTIONS[1])
    by_vector = separator.separate(wave, RATE, condition=3 * text_vectors()[1])
    np.testing.assert_allclose(by_vector, by_text, atol=1e-6)
    other = separator.separate(wave, RATE, query=CAPTIONS[2])
    assert np.abs(other - by_text).max() > 1e-4


def test_a_tone_within_reach_is_at_the_same_place_at_any_rate(separator: Separator) -> None:
    time = np.arange(3 * 44_100) / 44_100
    wave = (0.2 * np.sin(2 * np.pi * 440 * time) * (time > 1)).astype(np.float32)
    high = separator.separate(wave, 44_100, query=CAPTIONS[0])
    low = separator.separate(wave[::1].copy(), 44_100, query=CAPTIONS[0], chunk_seconds=1.0)
    np.testing.assert_allclose(high, low, atol=1e-4)
    # Silence before the onset stays quiet: nothing was delayed or advanced by resampling.
    assert np.abs(high[:40_000]).max() < 0.02 * np.abs(high[50_000:]).max()


@pytest.mark.parametrize(
    ("wave", "rate", "error", "message"),
    [
        (np.zeros(0, np.float32), RATE, AudioError, "no samples"),
        (np.array([0.0, np.nan], np.float32), RATE, AudioError, "not finite"),
        (np.zeros((1, 2, 3), np.float32), RATE, UsageError, "cannot separate this waveform"),
        (np.zeros(10, np.int16), RATE, UsageError, "found int16"),
        (np.zeros(10, np.float32), 0, UsageError, "at 0 Hz"),
    ],
)
def test_a_bad_waveform_is_told(
    separator: Separator, wave: np.ndarray, rate: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        separator.separate(wave, rate, query=CAPTIONS[0])


def test_a_bad_query_is_told(separator: Separator) -> None:
    with pytest.raises(UsageError, match="one of them"):
        separator.separate(noise(RATE), RATE)
    with pytest.raises(UsageError, match="the query is empty"):
        separator.separate(noise(RATE), RATE, query="  ")
    with pytest.raises(UsageError, match=f"expected {DIM} finite values"):
        separator.separate(noise(RATE), RATE, condition=np.ones(DIM + 1))
    with pytest.raises(DataError, match="'a cat'"):
        separator.separate(noise(RATE), RATE, query="a cat")


@pytest.mark.parametrize("rate", [8000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_gives_what_its_samples_give(
    separator: Separator, tmp_path: Path, rate: int, channels: int
) -> None:
    wave = noise(channels, 7 * rate + 11)
    source = tmp_path / "in.wav"
    soundfile.write(source, wave.T, rate, subtype="FLOAT")
    done = separator.separate_file(
        source, tmp_path / "out.wav", query=CAPTIONS[0], residual=tmp_path / "rest.wav"
    )
    estimate, found_rate = soundfile.read(tmp_path / "out.wav", dtype="float32", always_2d=True)
    rest, _ = soundfile.read(tmp_path / "rest.wav", dtype="float32", always_2d=True)
    assert (found_rate, estimate.shape) == (rate, (7 * rate + 11, channels))
    assert (done.samples, done.channels, done.clipped) == (7 * rate + 11, channels, 0)
    expected = separator.separate(wave, rate, query=CAPTIONS[0])
    np.testing.assert_allclose(estimate.T, expected, atol=1e-5)
    # What was taken out and what is left make up the recording, at its own rate.
    np.testing.assert_allclose((estimate + rest).T, wave, atol=1e-6)


def test_memory_does_not_grow_with_length(separator: Separator, tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 4):
        source = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(source, "w", RATE, 1) as file:
            for _ in range(minutes * 60):
                file.write(noise(RATE))
        tracemalloc.start()
        separator.separate_file(source, tmp_path / "out.wav", query=CAPTIONS[0])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # numpy reports its arrays to tracemalloc; a minute of float32 samples is 1.9 MB.
    assert peaks[1] < peaks[0] + 500_000


def test_bad_files_are_told_and_nothing_is_written(separator: Separator, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    empty, junk, nan = (tmp_path / name for name in ("empty.wav", "junk.wav", "nan.wav"))
    soundfile.write(empty, np.zeros(0), RATE)
    junk.write_bytes(b"not audio at all")
    soundfile.write(nan, np.array([0.1, np.nan] * 4000), RATE, subtype="FLOAT")
    for source in (tmp_path / "missing.wav", empty, junk, nan, tmp_path):
        with pytest.raises(AudioError):
            separator.separate_file(source, out, query=CAPTIONS[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.wav", "junk.wav", "nan.wav"]


def test_the_recording_is_never_replaced(separator: Separator, tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    soundfile.write(source, noise(RATE), RATE)
    with pytest.raises(UsageError, match="would replace the recording"):
        separator.separate_file(source, source, query=CAPTIONS[0])


def test_a_pickle_in_place_of_a_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    torch.save({"model": torch.zeros(1)}, copy / "checkpoints" / "best.safetensors")
    with pytest.raises(DataError, match="never unpickled"):
        Separator.load(copy)
