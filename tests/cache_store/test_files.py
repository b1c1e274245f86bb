from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cache_store.files import (
    TMP_PREFIX,
    FileLayer,
    commit_file,
    content_name,
    hash_file,
    link_file,
    replace_file,
    sweep,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def commit(folder: Path, data: bytes, layer: FileLayer | None = None) -> Path:
    options = {} if layer is None else {"layer": layer}
    done = commit_file(
        folder, ".bin", lambda path: _write(path, data), lambda path: None, **options
    )
    return done.path


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def test_a_committed_file_is_named_by_its_content(tmp_path: Path) -> None:
    path = commit(tmp_path / "new" / "folder", b"rain")
    digest = hashlib.sha256(b"rain").hexdigest()
    assert path.name == f"{digest[:32]}.bin" == content_name(digest, ".bin")
    assert path.read_bytes() == b"rain"
    assert hash_file(path) == digest
    assert names(path.parent) == [path.name]


def test_the_same_content_twice_is_one_file(tmp_path: Path) -> None:
    assert commit(tmp_path, b"rain") == commit(tmp_path, b"rain")
    assert len(names(tmp_path)) == 1


def test_committing_again_mends_a_damaged_file(tmp_path: Path) -> None:
    path = commit(tmp_path, b"rain")
    path.write_bytes(b"pain")
    commit(tmp_path, b"rain")
    assert path.read_bytes() == b"rain"


def test_a_file_that_fails_its_check_never_gets_a_name(tmp_path: Path) -> None:
    def check(path: Path) -> None:
        raise ValueError(path.read_text())

    with pytest.raises(ValueError, match="rain"):
        commit_file(tmp_path, ".txt", lambda path: _write(path, b"rain"), check)
    assert names(tmp_path) == []


def test_bytes_reach_the_disk_before_the_name_does(tmp_path: Path) -> None:
    steps: list[str] = []

    class Recorder(FileLayer):
        def sync_file(self, path: Path) -> None:
            steps.append("sync file")
            super().sync_file(path)

        def rename(self, source: Path, target: Path) -> None:
            steps.append("rename")
            super().rename(source, target)

        def link(self, source: Path, target: Path) -> None:
            steps.append("link")
            super().link(source, target)

        def sync_folder(self, folder: Path) -> None:
            steps.append("sync folder")
            super().sync_folder(folder)

    commit(tmp_path, b"rain", Recorder())
    link_file(tmp_path / "one.json", b"{}", Recorder())
    assert steps == ["sync file", "rename", "sync folder", "sync file", "link", "sync folder"]


def test_a_link_is_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "000001.json"
    link_file(path, b"first")
    with pytest.raises(FileExistsError):
        link_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["000001.json"]


def test_replace_gives_new_content(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    replace_file(path, b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["README.md"]


def test_sweep_takes_only_temporary_files(tmp_path: Path) -> None:
    (tmp_path / f"{TMP_PREFIX}1.parquet").write_bytes(b"x")
    (tmp_path / "kept.parquet").write_bytes(b"x")
    assert sweep(tmp_path) == 1
    assert names(tmp_path) == ["kept.parquet"]
    assert sweep(tmp_path / "missing") == 0
