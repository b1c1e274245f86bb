"""Clip embeddings: stored ones are used, others are computed once and remembered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.clips import ClipTable, decode
from cache_store.errors import AudioError, SpaceMismatchError, UsageError
from cache_store.manifest import SpaceRecord
from tests.trainer.clips import with_embeddings, write_clips
from trainer import embeddings
from trainer.embeddings import clip_embeddings


class CountingSpace:
    """Embeds a recording as a fixed projection of its spectrum, and counts what it was asked."""

    name, dim, sample_rate, fingerprint = "counting", 8, 8000, "c" * 32

    def __init__(self, fail_after: int | None = None) -> None:
        self.asked = 0
        self.fail_after = fail_after

    @property
    def record(self) -> SpaceRecord:
        return SpaceRecord(self.name, self.fingerprint, self.dim)

    def embed_audio(self, waves: Sequence[np.ndarray], sample_rate: int) -> np.ndarray:
        self.asked += len(waves)
        if self.fail_after is not None and self.asked > self.fail_after:
            raise KeyboardInterrupt
        bands = [np.abs(np.fft.rfft(wave, 1024))[:512].reshape(8, 64).sum(1) for wave in waves]
        return (bands / np.linalg.norm(bands, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def clips(tmp_path: Path) -> ClipTable:
    return write_clips(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "run" / "embeddings.safetensors"


def test_stored_embeddings_are_used_as_they_are(clips: ClipTable) -> None:
    embedded = with_embeddings(clips)
    assert clip_embeddings(embedded, expected=embedded.space) is embedded.embeddings


def test_computed_ones_are_the_spaces_own(clips: ClipTable) -> None:
    space = CountingSpace()
    found = clip_embeddings(clips, space=space, batch=5)  # type: ignore[arg-type]
    waves = [decode(path, 8000) for path in clips.paths]
    np.testing.assert_allclose(found, CountingSpace().embed_audio(waves, 8000), atol=1e-6)
    assert found.dtype == np.float32


def test_a_second_run_computes_nothing(clips: ClipTable, store: Path) -> None:
    first, second = CountingSpace(), CountingSpace()
    one = clip_embeddings(clips, space=first, store=store)  # type: ignore[arg-type]
    two = clip_embeddings(clips, space=second, store=store)  # type: ignore[arg-type]
    assert (first.asked, second.asked) == (12, 0)
    np.testing.assert_array_equal(one, two)
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_only_what_is_new_or_changed_is_computed(clips: ClipTable, store: Path) -> None:
    part = clips.select(range(8))
    clip_embeddings(part, space=CountingSpace(), store=store)  # type: ignore[arg-type]
    samples, rate = soundfile.read(clips.paths[3])
    soundfile.write(clips.paths[3], samples[500:], rate)
    os.utime(clips.paths[3], ns=(1, 1))
    space = CountingSpace()
    found = clip_embeddings(clips, space=space, store=store)  # type: ignore[arg-type]
    assert space.asked == 4 + 1
    fresh = clip_embeddings(clips, space=CountingSpace())  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, fresh)


def test_a_recording_with_several_rows_is_embedded_once(clips: ClipTable) -> None:
    space = CountingSpace()
    found = clip_embeddings(clips.select([2, 0, 2]), space=space)  # type: ignore[arg-type]
    assert space.asked == 2
    np.testing.assert_array_equal(found[0], found[2])


def test_another_model_starts_anew(clips: ClipTable, store: Path) -> None:
    clip_embeddings(clips, space=CountingSpace(), store=store)  # type: ignore[arg-type]
    other = CountingSpace()
    other.fingerprint = "d" * 32
    clip_embeddings(clips, space=other, store=store)  # type: ignore[arg-type]
    assert other.asked == 12


def test_an_interrupted_run_keeps_what_it_had(
    clips: ClipTable, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_SAVE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        clip_embeddings(clips, space=CountingSpace(9), store=store, batch=3)  # type: ignore[arg-type]
    space = CountingSpace()
    found = clip_embeddings(clips, space=space, store=store)  # type: ignore[arg-type]
    assert space.asked == 3
    np.testing.assert_array_equal(found, clip_embeddings(clips, space=CountingSpace()))  # type: ignore[arg-type]


def test_a_damaged_file_is_made_again_and_said(
    clips: ClipTable, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.parent.mkdir()
    store.write_bytes(b"not safetensors at all")
    space = CountingSpace()
    clip_embeddings(clips, space=space, store=store)  # type: ignore[arg-type]
    assert space.asked == 12
    assert "made again" in capsys.readouterr().err


def test_spaces_must_agree(clips: ClipTable) -> None:
    cache = SpaceRecord("the cache's", "e" * 32, 8)
    with pytest.raises(SpaceMismatchError, match=r"the cache's .*counting"):
        clip_embeddings(clips, expected=cache, space=CountingSpace())  # type: ignore[arg-type]
    with pytest.raises(SpaceMismatchError, match=r"the cache's .*test"):
        clip_embeddings(with_embeddings(clips), expected=cache)


def test_without_embeddings_or_model_it_says_what_to_do(clips: ClipTable) -> None:
    with pytest.raises(UsageError, match="--space"):
        clip_embeddings(clips)


def test_a_missing_recording_is_named(clips: ClipTable, store: Path) -> None:
    clips.paths[4].unlink()
    with pytest.raises(AudioError, match=r"no such file: .*dog/0\.flac"):
        clip_embeddings(clips, space=CountingSpace(), store=store)  # type: ignore[arg-type]
