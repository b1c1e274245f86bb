from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store import rows as rows_module
from cache_store.errors import UsageError
from cache_store.manifest import FileEntry
from cache_store.rows import RowReader
from tests.cache_store.builders import add_step, captions


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, tuple[FileEntry, ...]]:
    for first in (0, 7, 20):
        manifest = add_step(tmp_path, 7 if first == 0 else 13, first=first)
    return tmp_path, manifest.data


def test_rows_are_found_across_files(stored: tuple[Path, tuple[FileEntry, ...]]) -> None:
    reader = RowReader(*stored)
    assert len(reader) == 33
    wanted = np.array([[32, 0, 6], [7, 19, 20]])
    everything = captions(33)
    assert reader.take("caption", wanted) == [[everything[r] for r in line] for line in wanted]
    assert reader.take("caption", 8) == everything[8]
    assert reader.take("caption", []) == []
    assert reader.take("concepts", [1, 1]) == [["sound", "kind 1"]] * 2
    assert reader.column("caption").to_pylist() == everything


@pytest.mark.parametrize("row", [-1, 33])
def test_no_row_is_not_the_last_row(stored: tuple[Path, tuple[FileEntry, ...]], row: int) -> None:
    with pytest.raises(UsageError, match=f"expected 0 to 32, found {row}"):
        RowReader(*stored).take("id", [0, row])


def test_only_the_files_concerned_are_read_and_memory_is_bounded(
    stored: tuple[Path, tuple[FileEntry, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, files = stored
    read: list[str] = []
    plain = rows_module.read_table

    def spy(path: Path, columns: list[str]) -> object:
        read.append(path.name)
        return plain(path, columns)

    monkeypatch.setattr(rows_module, "read_table", spy)
    names = [Path(entry.path).name for entry in files]
    reader = RowReader(folder, files)
    reader.take("id", [8, 9])
    reader.take("id", [10])
    assert read == [names[1]]
    tight = RowReader(folder, files, keep_bytes=1)
    read.clear()
    for row in (0, 1, 30, 0):
        tight.take("id", [row])
    assert read == [names[0], names[2], names[0]]
