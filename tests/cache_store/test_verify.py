from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cache_store import schema
from cache_store.errors import DataError
from cache_store.files import commit_file
from cache_store.index.faiss_build import build
from cache_store.index.faiss_files import writer_of
from cache_store.manifest import FileEntry, Manifest, named_space, newest_manifest
from cache_store.shards import from_matrix, write_table
from cache_store.verify import verify_cache
from tests.cache_store.builders import (
    DIM,
    SPACE,
    add_step,
    caption_table,
    flip_bit,
    unit_rows,
)
from tests.cache_store.test_cache import rewrite

HASHED = ("captions", "data", "rejects", "index", "manifest")


def newest(path: Path) -> Manifest:
    manifest = newest_manifest(path)
    assert manifest is not None
    return manifest


def plant(path: Path, kind: str, table: pa.Table) -> FileEntry:
    """Commit a table as our writer would, without its checks of the rows."""
    done = commit_file(path / kind, ".parquet", lambda p: write_table(p, table), lambda p: None)
    return FileEntry(f"{kind}/{done.path.name}", done.sha256, done.bytes, table.num_rows)


def data_with(matrix: np.ndarray, first: int = 500) -> pa.Table:
    table = caption_table(len(matrix), first).append_column("embedding", from_matrix(matrix))
    about = schema.data_schema(
        DIM, "float16", space=SPACE.name, fingerprint=SPACE.fingerprint, source=""
    )
    return schema.conform(table, about)


def test_a_whole_cache_is_whole(indexed_path: Path) -> None:
    read: list[int] = []
    report = verify_cache(indexed_path, read.append)
    assert report.faults == []
    assert report.notes == []
    assert report.whole
    assert report.rows == 65
    assert len(read) == report.files == 5 + 6 + 3
    assert sum(read) == report.bytes


def test_no_cache_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no cache"):
        verify_cache(tmp_path)


@pytest.mark.parametrize("folder", HASHED)
def test_every_flipped_bit_is_found(indexed_path: Path, folder: str) -> None:
    generator = np.random.default_rng(0)
    for path in sorted((indexed_path / folder).iterdir()):
        for bit in generator.integers(0, 8 * path.stat().st_size, 12).tolist():
            restore = flip_bit(path, bit)
            report = verify_cache(indexed_path)
            assert f"{folder}/{path.name}" in {fault.path for fault in report.faults}, bit
            restore()
    assert verify_cache(indexed_path).whole


@pytest.mark.parametrize("folder", HASHED)
def test_every_cut_and_every_loss_is_found(indexed_path: Path, folder: str) -> None:
    for path in sorted((indexed_path / folder).iterdir()):
        data = path.read_bytes()
        for size in (len(data) - 1, len(data) // 2, 0):
            os.truncate(path, size)
            faults = verify_cache(indexed_path).faults
            assert f"{folder}/{path.name}" in {fault.path for fault in faults}
        path.write_bytes(data)
        if folder != "manifest":
            path.unlink()
            (fault,) = (
                fault
                for fault in verify_cache(indexed_path).faults
                if fault.path == f"{folder}/{path.name}"
            )
            assert "missing" in fault.what
            path.write_bytes(data)


def test_one_fault_does_not_hide_another(indexed_path: Path) -> None:
    paths = [next((indexed_path / folder).iterdir()) for folder in HASHED]
    for path in paths:
        flip_bit(path, 77)
    found = {fault.path for fault in verify_cache(indexed_path).faults}
    assert found >= {f"{path.parent.name}/{path.name}" for path in paths}


@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "NaN or infinity"), (0.0, "norm 0"), (1.5, "norm 1.5")]
)
def test_vectors_that_are_not_unit_are_found(cache_path: Path, value: float, what: str) -> None:
    matrix = unit_rows(9)
    matrix[4] *= np.float16(value)
    entry = plant(cache_path, "data", data_with(matrix))
    rewrite(cache_path, data=(*newest(cache_path).data, entry))
    (fault,) = verify_cache(cache_path).faults
    assert fault.path == entry.path
    assert "row 4" in fault.what
    assert what in fault.what


def test_an_id_that_is_not_its_caption_is_found(cache_path: Path) -> None:
    table = schema.conform(caption_table(3, 500), schema.captions_schema())
    table = table.set_column(0, table.schema.field(0), [["0" * 32, "1" * 32, "2" * 32]])
    entry = plant(cache_path, "captions", table)
    rewrite(cache_path, captions=(*newest(cache_path).captions, entry))
    (fault,) = verify_cache(cache_path).faults
    assert (fault.path, "not the one of its caption" in fault.what) == (entry.path, True)


def test_a_caption_in_two_files_is_found(cache_path: Path) -> None:
    table = schema.conform(caption_table(3, 39), schema.captions_schema())
    entry = plant(cache_path, "captions", table)
    rewrite(cache_path, captions=(*newest(cache_path).captions, entry))
    (fault,) = verify_cache(cache_path).faults
    assert "3 captions are in more than one file" in fault.what


def test_a_file_of_another_space_is_found(cache_path: Path) -> None:
    rewrite(cache_path, space=named_space("other", DIM))
    faults = verify_cache(cache_path).faults
    assert len(faults) == 2
    assert all("test-space" in fault.what and "other" in fault.what for fault in faults)


@pytest.mark.parametrize("kind", ["exact", "flat", "hnsw"])
def test_an_index_of_other_vectors_is_found(indexed_path: Path, kind: str) -> None:
    # Well formed, right shape, right hash: only its vectors are not those of the data.
    manifest = newest(indexed_path)
    matrix = unit_rows(65, seed=5)

    def write(path: Path) -> None:
        if kind == "exact":
            with path.open("wb") as file:
                np.save(file, matrix)
        else:
            built = build(kind, DIM, [matrix.astype(np.float32)])
            writer_of(built)(path)

    suffix = ".npy" if kind == "exact" else ".faiss"
    done = commit_file(indexed_path / "index", suffix, write, lambda path: None)
    entry = FileEntry(f"index/{done.path.name}", done.sha256, done.bytes, 65)
    others = [index for index in manifest.indexes if index.kind != kind]
    mine = manifest.index(kind)
    assert mine is not None
    rewrite(indexed_path, indexes=(*others, replace(mine, files=(entry,))))
    (fault,) = verify_cache(indexed_path).faults
    assert fault.path == entry.path
    assert "other vectors than the data" in fault.what
    assert f"--kind {kind}" in fault.hint


def test_what_no_manifest_names_is_noted(cache_path: Path) -> None:
    (cache_path / "data" / "stranger.parquet").write_bytes(b"x")
    (cache_path / "captions" / ".tmp-1").write_bytes(b"x")
    report = verify_cache(cache_path)
    assert report.whole
    assert report.notes == [
        "captions/.tmp-1: left by a writer that died",
        "data/stranger.parquet: no manifest names it",
    ]


def test_a_stale_index_is_noted(indexed_path: Path) -> None:
    add_step(indexed_path, 5, first=100)
    report = verify_cache(indexed_path)
    assert report.whole
    assert len(report.notes) == 3
    assert all("older than the data" in note for note in report.notes)


def test_files_of_older_manifests_are_read_too(indexed_path: Path) -> None:
    old = newest(indexed_path)
    rewrite(indexed_path, indexes=())
    path = indexed_path / old.indexes[0].files[0].path
    flip_bit(path, 4000)
    (fault,) = verify_cache(indexed_path).faults
    assert fault.path == f"index/{path.name}"
