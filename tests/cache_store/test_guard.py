from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cache_store.cache import open_cache
from cache_store.entries import FileEntry
from cache_store.errors import DamagedError
from cache_store.guard import Guard, check_length
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


@pytest.mark.parametrize("kind", ["exact", "flat", "hnsw"])
@pytest.mark.parametrize("cut", ["matrix", "index"])
def test_a_file_that_is_cut_while_it_is_mapped_is_told(
    indexed_path: Path, kind: str, cut: str
) -> None:
    # Without the check, touching what was cut off kills the process.
    manifest = newest_manifest(indexed_path)
    assert manifest is not None
    index = manifest.index("exact" if cut == "matrix" else kind)
    assert index is not None
    path = indexed_path / index.files[0].path
    with open_cache(indexed_path) as cache:
        cache.search(QUERIES, kind=kind)
        whole = path.read_bytes()
        with path.open("rb+") as file:
            file.truncate(0)
        with pytest.raises(DamagedError, match=f"changed while it was in use.*{path.name}"):
            cache.search(QUERIES, kind=kind)
        with path.open("rb+") as file:  # the same file, or the mapping would not see it
            file.write(whole)
        assert cache.search(QUERIES, kind=kind).rows.shape[0] == len(QUERIES)


def test_a_file_that_is_removed_while_it_is_mapped_is_still_searched(indexed_path: Path) -> None:
    with open_cache(indexed_path) as cache:
        before = cache.search(QUERIES, kind="hnsw").rows
        for path in (indexed_path / "index").iterdir():
            path.unlink()
        assert (cache.search(QUERIES, kind="hnsw").rows == before).all()


def test_a_length_is_checked_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    check_length(path, 5)
    check_length(tmp_path / "gone", 5)
    for size in (4, 6):
        with pytest.raises(DamagedError, match=f"expected {size} bytes, found 5"):
            check_length(path, size)
