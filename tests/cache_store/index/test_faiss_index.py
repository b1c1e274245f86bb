from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cache_store.errors import DamagedError, DataError, MismatchError, UsageError
from cache_store.index.faiss_build import build
from cache_store.index.faiss_files import writer_of
from cache_store.index.faiss_index import FaissIndex
from tests.cache_store.builders import unit_rows
from tests.cache_store.index.oracle import brute_force

faiss = pytest.importorskip("faiss")


def make(matrix: Any, kind: str, **options: Any) -> FaissIndex:
    index = build(kind, matrix.shape[1], [matrix.astype(np.float32)])
    return FaissIndex(index, kind, torch.from_numpy(matrix), **options)


def lookup(ids: list[str]) -> Any:
    names = np.asarray(ids)
    return lambda rows: names[rows]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_flat_is_exact_ties_included(dtype: str) -> None:
    matrix = np.tile(unit_rows(50, 32, dtype=dtype), (40, 1))  # 40 copies of each
    ids = [f"{n:06d}" for n in np.random.default_rng(0).permutation(2000)]
    queries = unit_rows(7, 32, seed=1, dtype="float32")
    index = make(matrix, "flat", ids=lookup(ids))
    for k in (1, 10, 41, 2000):
        scores, rows = index.search(torch.from_numpy(queries), k)
        expected_scores, expected_rows = brute_force(matrix, queries, k, ids)
        np.testing.assert_array_equal(rows.numpy(), expected_rows)
        np.testing.assert_array_equal(scores.numpy(), expected_scores)


def test_hnsw_finds_most_and_its_scores_are_exact() -> None:
    matrix = unit_rows(3000, 32)
    queries = unit_rows(50, 32, seed=1, dtype="float32")
    scores, rows = make(matrix, "hnsw").search(torch.from_numpy(queries), 10)
    expected = brute_force(matrix, queries, 10)[1]
    hit = [len(set(a) & set(b)) for a, b in zip(rows.tolist(), expected.tolist(), strict=True)]
    assert np.mean(hit) / 10 > 0.95
    products = queries.astype(np.float64) @ matrix.T.astype(np.float64)
    true = np.take_along_axis(products, rows.numpy(), axis=1).astype(np.float32)
    np.testing.assert_array_equal(scores.numpy(), true)
    assert (np.diff(scores.numpy(), axis=1) <= 0).all()


def test_a_file_of_another_shape_or_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.faiss"
    matrix = torch.from_numpy(unit_rows(30, 16))
    writer_of(build("flat", 16, [unit_rows(30, 16, dtype="float32")]))(path)
    for kind, other in (("hnsw", matrix), ("flat", matrix[:29]), ("flat", matrix[:, :8])):
        with pytest.raises(DamagedError, match="not the one that the manifest names"):
            FaissIndex.load(path, kind, other)
    faiss.write_index(faiss.IndexFlatL2(16), str(path))
    with pytest.raises(DamagedError):
        FaissIndex.load(path, "flat", matrix[:0])
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DamagedError, match="an index file is damaged"):
        FaissIndex.load(path, "flat", matrix)


class Lying:
    """An index that answers with the rows it is told to, as a damaged one might."""

    def __init__(self, rows: list[int]) -> None:
        self._rows = np.array(rows)

    def search(self, queries: Any, width: int, **_: Any) -> tuple[Any, Any]:
        rows = np.resize(self._rows, (len(queries), width)).astype(np.int64)
        return np.zeros(rows.shape, dtype=np.float32), rows


def test_a_miss_is_never_the_last_row() -> None:
    matrix = torch.from_numpy(unit_rows(30, 16))
    index = FaissIndex(Lying([-1]), "hnsw", matrix)
    with pytest.raises(DamagedError, match="cannot find 3 captions: query 0"):
        index.search(torch.ones(2, 16), 3)


def test_a_row_beyond_the_cache_is_damage() -> None:
    index = FaissIndex(Lying([3, 30]), "hnsw", torch.from_numpy(unit_rows(30, 16)))
    with pytest.raises(DamagedError, match="a row that the cache does not have"):
        index.search(torch.ones(2, 16), 3)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_removed_rows_are_never_found(kind: str) -> None:
    matrix, queries = unit_rows(60, 16), unit_rows(4, 16, seed=1, dtype="float32")
    removed = np.sort(np.random.default_rng(0).choice(60, 50, replace=False))
    kept = np.setdiff1d(np.arange(60), removed)
    rows = make(matrix, kind, removed=removed).search(torch.from_numpy(queries), 10)[1]
    np.testing.assert_array_equal(rows.numpy(), kept[brute_force(matrix[kept], queries, 10)[1]])


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_guards(kind: str) -> None:
    index = make(unit_rows(30, 16), kind)
    with pytest.raises(UsageError, match="expected k from 1 to 30"):
        index.search(torch.ones(1, 16), 31)
    with pytest.raises(MismatchError, match="wrong width"):
        index.search(torch.ones(1, 8), 3)
    with pytest.raises(DataError, match="NaN"):
        index.search(torch.full((1, 16), torch.nan), 3)
