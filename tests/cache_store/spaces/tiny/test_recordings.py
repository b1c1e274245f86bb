"""Folders of recordings: neutral names, relative truth, stable streams, faults in one line."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.errors import StorageError, UsageError
from cache_store.spaces.tiny.recordings import write_recordings
from cache_store.spaces.tiny.sounds import phrases

KINDS = ("dog", "alarm", "knock")


def write(folder: Path, kinds: tuple[str, ...] = KINDS, per_kind: int = 3, seed: int = 7) -> Path:
    return write_recordings(folder, kinds, per_kind, seed, seconds=0.5)


def rows(truth: Path) -> list[dict[str, str]]:
    with truth.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sounds(truth: Path) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for row in rows(truth):
        samples, _ = soundfile.read(truth.parent / row["path"], dtype="int16")
        found.setdefault(row["label"], set()).add(samples.tobytes())
    return found


def test_the_truth_lists_every_recording_once(tmp_path: Path) -> None:
    truth = write(tmp_path / "new" / "folder")
    table = rows(truth)
    assert list(table[0]) == ["path", "label", "caption", "fold"]
    assert {row["path"] for row in table} == {path.name for path in truth.parent.glob("*.wav")}
    assert len(table) == 9
    assert sorted(row["label"] for row in table) == sorted(KINDS * 3)
    for row in table:
        assert row["caption"] in phrases(row["label"])
        assert row["fold"] in {"1", "2", "3", "4", "5"}
        info = soundfile.info(truth.parent / row["path"])
        assert (info.samplerate, info.channels, info.frames) == (16000, 1, 8000)


def test_names_and_order_tell_nothing(tmp_path: Path) -> None:
    table = rows(write(tmp_path, per_kind=6))
    labels = [row["label"] for row in table]
    assert labels != sorted(labels) and labels != list(np.repeat(KINDS, 6))
    assert not any(kind in row["path"] for row in table for kind in KINDS)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    for path in one.parent.glob("*.wav"):
        assert path.read_bytes() == (two.parent / path.name).read_bytes()


def test_more_kinds_and_clips_change_no_sound(tmp_path: Path) -> None:
    small = sounds(write(tmp_path / "small"))
    large = sounds(write(tmp_path / "large", ("rain", *KINDS), per_kind=5))
    for kind in KINDS:
        assert small[kind] < large[kind]


def test_another_seed_writes_other_sounds(tmp_path: Path) -> None:
    one, two = sounds(write(tmp_path / "one")), sounds(write(tmp_path / "two", seed=8))
    assert not one["dog"] & two["dog"]


@pytest.mark.parametrize(
    ("kinds", "per_kind", "message"),
    [
        ((), 3, "nothing to write"),
        (("dog",), 0, "nothing to write"),
        (("dog", "dog"), 1, "differ"),
        (("unicorn",), 1, "unknown kind"),
    ],
)
def test_faults_are_told_in_one_line(
    tmp_path: Path, kinds: tuple[str, ...], per_kind: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        write_recordings(tmp_path, kinds, per_kind, 0, seconds=0.2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError):
        write(tmp_path / "folder")
