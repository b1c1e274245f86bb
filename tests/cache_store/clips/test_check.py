"""Which clips can be used, and why the others cannot."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cache_store.clips import ClipReject, check, read_clips, usable, write_rejects
from cache_store.errors import EmptyInputError, StorageError
from tests.cache_store.clips.conftest import Writer, tone


@pytest.fixture
def mixed(write: Writer, tmp_path: Path) -> Path:
    """Two good clips among every kind of bad one, as a manifest."""
    nan = tone(1.0)
    nan[-1] = np.nan
    whole = write("cut.flac", np.random.default_rng(0).normal(size=60_000) * 0.1)
    whole.write_bytes(whole.read_bytes()[:40_000])
    short = write("short.mp3", np.random.default_rng(0).normal(size=160_000) * 0.1)
    short.write_bytes(short.read_bytes()[: short.stat().st_size // 2])
    write("good.wav", tone(1.25))
    write("nan.wav", nan, subtype="FLOAT")
    write("none.wav", np.zeros(0))
    write("silent.wav", np.zeros(16_000))
    (tmp_path / "text.wav").write_text("nothing to hear")
    write("fine.ogg", tone(0.5))
    names = [
        *("good.wav", "nan.wav", "none.wav", "silent.wav", "cut.flac", "short.mp3", "text.wav"),
        *("gone.wav", "fine.ogg", "good.wav"),
    ]
    (tmp_path / "m.csv").write_text("path\n" + "\n".join(names) + "\n")
    return tmp_path / "m.csv"


def test_every_bad_clip_is_named_with_its_reason(mixed: Path) -> None:
    table, rejects = usable(read_clips(mixed))
    assert table.names == ("good.wav", "fine.ogg", "good.wav")
    assert table.columns["seconds"] == (1.25, 0.5, 1.25)
    reasons = {reject.name: reject.reason for reject in rejects}
    assert list(reasons) == [
        *("nan.wav", "none.wav", "silent.wav", "cut.flac", "short.mp3", "text.wav", "gone.wav")
    ]
    for name, words in {
        "nan.wav": "not finite",
        "none.wav": "no samples",
        "silent.wav": "silent",
        "cut.flac": "cannot be decoded",
        "short.mp3": "ends early",
        "text.wav": "cannot be read as audio",
        "gone.wav": "no such file",
    }.items():
        assert words in reasons[name]


def test_the_number_of_threads_changes_nothing(mixed: Path) -> None:
    table = read_clips(mixed)
    one, four = usable(table, workers=1), usable(table, workers=4)
    assert one[1] == four[1]
    assert one[0].names == four[0].names


def test_long_clips_are_read_in_pieces(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "PIECE_SECONDS", 0.3)
    late = tone(1.0)
    late[15_000] = np.nan
    write("late.wav", late, subtype="FLOAT")
    write("good.wav", np.concatenate([np.zeros(16_000), tone(0.2)]))
    table, rejects = usable(read_clips(tmp_path), sample_rate=8000)
    assert table.names == ("good.wav",)
    assert [reject.name for reject in rejects] == ["late.wav"]


def test_a_sound_above_half_the_rate_is_silent_there(write: Writer, tmp_path: Path) -> None:
    time = np.arange(44_100) / 44_100
    fade = np.hanning(44_100)
    write("bat.wav", 0.5 * fade * np.sin(2 * np.pi * 15_000 * time), 44_100, subtype="FLOAT")
    write("good.wav")
    table = read_clips(tmp_path)
    assert len(usable(table)[0]) == 2
    kept, rejects = usable(table, sample_rate=8000)
    assert kept.names == ("good.wav",)
    assert rejects == [ClipReject("bat.wav", "is silent at 8000 Hz")]


def test_headers_alone_find_what_headers_tell(mixed: Path) -> None:
    table, rejects = usable(read_clips(mixed), samples=False)
    assert "nan.wav" in table.names
    assert {reject.name for reject in rejects} == {"none.wav", "text.wav", "gone.wav"}


def test_nothing_usable_is_an_error_that_tells_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(EmptyInputError, match=r"none of 1 clips .*a\.wav is an empty file"):
        usable(read_clips(tmp_path))


def test_rejects_are_written_as_csv(tmp_path: Path) -> None:
    rejects = [ClipReject("a,b.wav", 'says "no"'), ClipReject("ü.wav", "has no samples")]
    write_rejects(tmp_path / "rejects.csv", rejects)
    with (tmp_path / "rejects.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["name", "reason"],
            ["a,b.wav", 'says "no"'],
            ["ü.wav", "has no samples"],
        ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        write_rejects("/dev/full", [ClipReject("a.wav", "has no samples")])
