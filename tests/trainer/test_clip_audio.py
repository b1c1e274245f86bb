"""The same samples from memory and from disk, and activity measured the same way."""

from __future__ import annotations

import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.clips import ClipTable, decode, read_clips
from cache_store.errors import AudioError, StorageError
from tests.trainer.clips import RATE, write_clips
from trainer import clip_audio
from trainer.clip_audio import ClipAudio


@pytest.fixture
def clips(tmp_path: Path) -> ClipTable:
    return write_clips(tmp_path)


def test_memory_is_used_up_to_the_limit(clips: ClipTable) -> None:
    needed = sum(4 * len(decode(path, RATE)) for path in clips.paths)
    assert ClipAudio(clips, RATE).decoded
    assert ClipAudio(clips, RATE, memory_limit=needed + 100).decoded
    assert not ClipAudio(clips, RATE, memory_limit=needed - 100).decoded
    assert not ClipAudio(clips, RATE, memory_limit=0).decoded


@pytest.mark.parametrize(
    ("start", "length"), [(0, 100), (1234, 4000), (-500, 2000), (-500, 90_000), (10**6, 50)]
)
def test_memory_and_disk_give_the_same_crops(clips: ClipTable, start: int, length: int) -> None:
    memory, disk = ClipAudio(clips, RATE), ClipAudio(clips, RATE, memory_limit=0)
    for clip in range(len(clips)):
        wave = decode(clips.paths[clip], RATE)
        padded = np.concatenate([np.zeros(500), wave, np.zeros(100_000)])
        expected = padded[500 + start : 500 + start + length]
        expected = np.pad(expected, (0, length - len(expected)))
        np.testing.assert_array_equal(memory.crop(clip, start, length), expected)
        np.testing.assert_allclose(disk.crop(clip, start, length), expected, atol=2e-6)


def test_a_file_gives_the_very_crops_of_memory_and_leaves_none_behind(
    clips: ClipTable, tmp_path: Path
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    needed = sum(4 * len(decode(path, RATE)) for path in clips.paths)
    limits = {"memory_limit": needed - 100, "folder": room}
    memory, file = ClipAudio(clips, RATE), ClipAudio(clips, RATE, disk_limit=needed + 100, **limits)
    assert file.decoded
    assert not ClipAudio(clips, RATE, disk_limit=needed - 100, **limits).decoded
    assert list(room.iterdir()) == []
    for clip in range(len(clips)):
        for start, length in ((0, 100), (1234, 4000), (-500, 90_000)):
            expected = memory.crop(clip, start, length)
            np.testing.assert_array_equal(file.crop(clip, start, length), expected)
        np.testing.assert_array_equal(file.active(clip), memory.active(clip))
    with pytest.raises(ValueError, match="read-only"):
        file.crop(0, 0, 100)[:] = 0


def test_a_disk_without_room_is_told_before_anything_is_written(clips: ClipTable) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            ClipAudio(clips, RATE, memory_limit=0, disk_limit=1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_memory_and_disk_agree_on_lengths_and_activity(
    clips: ClipTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_audio, "_PIECE_BLOCKS", 7)  # several pieces a clip
    memory, disk = ClipAudio(clips, RATE), ClipAudio(clips, RATE, memory_limit=0)
    for clip in range(len(clips)):
        assert memory.length(clip) == disk.length(clip)
        np.testing.assert_array_equal(memory.active(clip), disk.active(clip))


def test_silence_is_not_active(clips: ClipTable) -> None:
    audio = ClipAudio(clips, RATE)
    for clip in range(len(clips)):
        active = audio.active(clip)
        silent = 20  # blocks of 50 ms: the second of silence that each clip ends with
        assert active[: -silent - 1].all()
        assert not active[-silent + 1 :].any()


def test_rows_of_one_recording_share_its_samples(clips: ClipTable) -> None:
    once, twice = ClipAudio(clips, RATE), ClipAudio(clips.select([0, 1, 0, 1]), RATE)
    np.testing.assert_array_equal(twice.crop(2, 0, 500), once.crop(0, 0, 500))
    assert len(pickle.dumps(twice)) < len(pickle.dumps(once)) / 2


def test_measured_ahead_nothing_is_decoded_whole_again(
    clips: ClipTable,
) -> None:
    lazy, ahead = ClipAudio(clips, RATE, memory_limit=0), ClipAudio(clips, RATE, memory_limit=0)
    expected = [lazy.active(clip) for clip in range(len(clips))]
    ahead.measure()
    for path in clips.paths:
        path.unlink()
    ahead.measure()
    for clip, active in enumerate(expected):
        np.testing.assert_array_equal(ahead.active(clip), active)


def test_a_silent_clip_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), RATE)
    for limit in (0, 1 << 30):
        with pytest.raises(AudioError, match=r"silent at 8000 Hz: .*silent\.wav"):
            ClipAudio(read_clips(tmp_path), RATE, memory_limit=limit).active(0)
        with pytest.raises(AudioError, match=r"silent at 8000 Hz: .*silent\.wav"):
            ClipAudio(read_clips(tmp_path), RATE, memory_limit=limit).measure()
