from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.errors import StorageError, UsageError
from trainer.audio_out import open_audio


def write(path: Path, samples: np.ndarray, subtype: str | None = None) -> int:
    with open_audio(path, 8000, len(samples), subtype) as out:
        for start in range(0, samples.shape[1], 100):
            out.write(samples[:, start : start + 100])
    return out.clipped


@pytest.mark.parametrize(
    ("subtype", "name", "step"),
    [("float", "FLOAT", 1e-7), ("pcm24", "PCM_24", 2**-22), ("pcm16", "PCM_16", 2**-14)],
)
def test_samples_come_back_to_the_precision_of_the_subtype(
    tmp_path: Path, subtype: str, name: str, step: float
) -> None:
    samples = np.random.default_rng(0).uniform(-0.99, 0.99, (2, 250)).astype(np.float32)
    assert write(tmp_path / "a.wav", samples, subtype) == 0
    found, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert (rate, soundfile.info(tmp_path / "a.wav").subtype) == (8000, name)
    np.testing.assert_allclose(found.T, samples, atol=step)


@pytest.mark.parametrize("subtype", ["pcm16", "pcm24"])
def test_integers_hold_at_full_scale_and_never_wrap(tmp_path: Path, subtype: str) -> None:
    samples = np.array([[0.5, 1.5, -1.5, 40.0, -40.0]], np.float32)
    assert write(tmp_path / "a.wav", samples, subtype) == 4
    found = soundfile.read(tmp_path / "a.wav")[0]
    np.testing.assert_allclose(found, [0.5, 1, -1, 1, -1], atol=1e-4)


def test_floats_keep_what_is_beyond_full_scale(tmp_path: Path) -> None:
    samples = np.array([[0.5, 40.0]], np.float32)
    assert write(tmp_path / "a.wav", samples) == 0
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav")[0], [0.5, 40.0])


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("flac", "PCM_24"), ("ogg", "VORBIS"), ("aiff", "FLOAT")]
)
def test_a_format_without_floats_takes_the_best_that_it_has(
    tmp_path: Path, suffix: str, subtype: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    write(path, np.zeros((1, 2000), np.float32))
    assert soundfile.info(path).subtype == subtype


@pytest.mark.parametrize(
    ("name", "subtype", "message"),
    [
        ("a.txt", None, "no audio format"),
        ("a", None, "no audio format"),
        ("a.flac", "float", "cannot hold float"),
        ("a.wav", "pcm8", "no such subtype"),
    ],
)
def test_what_cannot_be_written_is_a_usage_error(
    tmp_path: Path, name: str, subtype: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        write(tmp_path / name, np.zeros((1, 10), np.float32), subtype)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such folder"):
        write(tmp_path / "missing" / "a.wav", np.zeros((1, 10), np.float32))


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write(path, np.ones((1, 10), np.float32))
    before = path.read_bytes()
    with pytest.raises(RuntimeError), open_audio(path, 8000, 1) as out:
        out.write(np.zeros((1, 10), np.float32))
        raise RuntimeError
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
