from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cache_store.cache import open_cache
from cache_store.entries import FileEntry
from cache_store.errors import DamagedError
from cache_store.guard import Guard
from cache_store.manifest import newest_manifest
from tests.cache_store.builders import flip_bit, unit_rows

QUERIES = unit_rows(3, seed=99, dtype="float32")


def matrix_of(cache: Path) -> Path:
    manifest = newest_manifest(cache)
    assert manifest is not None
    exact = manifest.index("exact")
    assert exact is not None
    return cache / exact.files[0].path


def test_an_exact_search_does_not_answer_from_a_matrix_with_a_flipped_bit(
    indexed_path: Path,
) -> None:
    path = matrix_of(indexed_path)
    unflip = flip_bit(path, 8 * path.stat().st_size - 3)
    with open_cache(indexed_path) as cache:
        for _ in range(2):
            with pytest.raises(DamagedError, match=str(path.name)) as error:
                cache.search(QUERIES, kind="exact")
            assert error.value.exit_code == 3
    unflip()
    with open_cache(indexed_path) as cache:
        assert cache.search(QUERIES, kind="exact").rows.shape[0] == len(QUERIES)


def test_a_later_approximate_search_tells_of_the_matrix_too(indexed_path: Path) -> None:
    path = matrix_of(indexed_path)
    flip_bit(path, 8 * path.stat().st_size - 3)
    with open_cache(indexed_path) as cache, pytest.raises(DamagedError):
        for _ in range(1_000):
            cache.search(QUERIES, kind="hnsw")


def test_without_a_matrix_nothing_is_waited_for(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        hits = cache.search(QUERIES, kind="exact")
    assert hits.rows.shape[0] == len(QUERIES)


def test_a_file_is_read_once_by_each_guard(tmp_path: Path) -> None:
    (tmp_path / "matrix").write_bytes(b"rows")
    entry = FileEntry("matrix", rows=1, bytes=4, sha256=hashlib.sha256(b"rows").hexdigest())
    guard = Guard(tmp_path, entry)
    guard.settle()
    (tmp_path / "matrix").write_bytes(b"rowz")
    guard.settle()
    with pytest.raises(DamagedError):
        Guard(tmp_path, entry).settle()
