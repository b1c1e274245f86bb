"""A folder of recordings: every one found, in one order, whatever the file system does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cache_store.clips.folder import recordings
from cache_store.errors import DataError, EmptyInputError


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_finds_every_format_recursively_sorted_by_path(tmp_path: Path) -> None:
    make(tmp_path, "b/z.OGG", "b/a.flac", "a.wav", "B/x.mp3", "a/b/c.aiff", "notes.txt", "a.json")
    found = [path.as_posix() for path in recordings(tmp_path)]
    assert found == ["B/x.mp3", "a.wav", "a/b/c.aiff", "b/a.flac", "b/z.OGG"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "._a.wav", ".git/b.wav")
    assert recordings(tmp_path) == [Path("a.wav")]


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    make(tmp_path / "data", "a.wav", "deep/b.wav")
    (tmp_path / "data" / "deep" / "up").symlink_to(tmp_path / "data")
    make(tmp_path / "elsewhere", "c.wav")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    found = [path.as_posix() for path in recordings(tmp_path / "data")]
    assert found == ["a.wav", "deep/b.wav", "link/c.wav"]


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    make(tmp_path, "readme.md")
    with pytest.raises(EmptyInputError, match=r"no recordings found.*\.wav"):
        recordings(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    try:
        os.close(os.open(raw, os.O_CREAT | os.O_WRONLY))
    except OSError:
        pytest.skip("this file system keeps only UTF-8 names")
    with pytest.raises(DataError, match="not UTF-8"):
        recordings(tmp_path)
