from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.errors import EmptyInputError, UsageError
from tests.trainer.world import CAPTIONS
from trainer.separate_file import FileSettings
from trainer.separate_folder import FolderResult, Loading, separate_folder

RATE = 8000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings, one of them two folders down, and a file that is none."""
    rng = np.random.default_rng(0)
    for name in ("a.wav", "deep/er/b.flac", "c.ogg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.normal(size=(RATE, 2)), RATE)
    (tmp_path / "in" / "bad.wav").write_bytes(b"not audio")
    return tmp_path / "in"


def go(run: Path, folder: Path, out: Path, workers: int = 1, **changes: object) -> FolderResult:
    settings = FileSettings(**changes)  # type: ignore[arg-type]
    loading = Loading(run, device="cpu")
    return separate_folder(
        loading, folder, out, CAPTIONS[:2], settings, residual=True, workers=workers
    )


def contents(out: Path) -> dict[str, bytes]:
    """The samples, bit by bit; libsndfile writes the time of day into the header of floats."""
    return {
        str(path.relative_to(out)): soundfile.read(path, dtype="float32")[0].tobytes()
        for path in sorted(out.rglob("*.wav"))
    }


def test_every_recording_is_separated_whatever_the_number_of_workers(
    run: Path, folder: Path, tmp_path: Path
) -> None:
    done = go(run, folder, tmp_path / "one")
    assert sorted(done.done) == ["a.wav", "c.ogg", "deep/er/b.flac"]
    assert list(done.failed) == ["bad.wav"] and "cannot be read" in done.failed["bad.wav"]
    found = contents(tmp_path / "one")
    assert len(found) == 3 * 2 * 2
    assert "deep/er/b-a-bell-residual.wav" in found
    assert sorted(go(run, folder, tmp_path / "two", workers=2).done) == sorted(done.done)
    assert contents(tmp_path / "two") == found


def test_what_is_finished_is_not_done_again(run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(run, folder, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")}
    again = go(run, folder, out)
    assert again.done == {} and len(again.skipped) == 3
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")} == before
    # An output that is gone, a recording that changed, and half a line of a killed process.
    (out / "a-a-bell.wav").unlink()
    soundfile.write(folder / "c.ogg", np.ones(RATE // 2) * 0.1, RATE)
    journal = out / "separated.jsonl"
    journal.write_text(journal.read_text() + '{"recording": "deep/er/b.flac", "ke')
    third = go(run, folder, out)
    assert sorted(third.done) == ["a.wav", "c.ogg"] and third.skipped == ("deep/er/b.flac",)
    assert json.loads(journal.read_text().splitlines()[-1])["recording"] in ("a.wav", "c.ogg")
    # Other settings give other sounds.
    assert len(go(run, folder, out, subtype="pcm16").done) == 3


def test_outputs_inside_the_folder_are_no_recordings(run: Path, folder: Path) -> None:
    first = go(run, folder, folder / "sounds")
    second = go(run, folder, folder / "sounds")
    assert len(first.done) == 3 and len(second.skipped) == 3 and not second.done


def test_what_cannot_work_is_told_before_any_work(run: Path, folder: Path, tmp_path: Path) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(EmptyInputError, match="no recordings found"):
        go(run, empty, out)
    with pytest.raises(UsageError, match="at least 1"):
        go(run, folder, out, workers=0)
    with pytest.raises(UsageError, match="no such subtype"):
        go(run, folder, out, subtype="pcm8")
    assert not out.exists()
