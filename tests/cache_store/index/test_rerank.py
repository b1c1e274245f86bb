from __future__ import annotations

import numpy as np
import pytest
import torch

from cache_store.index import rerank
from cache_store.index.rerank import order, product_error, rescore
from tests.cache_store.builders import unit_rows


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_score_is_the_rounded_true_product(dtype: str) -> None:
    matrix, queries = unit_rows(50, 512, dtype=dtype), unit_rows(3, 512, 1, "float32")
    rows = torch.tensor([[0, 49, 7], [3, 3, -1], [-1, -1, 2]])
    scores = rescore(torch.from_numpy(matrix), torch.from_numpy(queries), rows)
    true = (queries.astype("f8") @ matrix.astype("f8").T).astype("f4")
    expected = np.take_along_axis(true, rows.numpy().clip(0), axis=1)
    expected[rows.numpy() < 0] = -np.inf
    np.testing.assert_array_equal(scores.numpy(), expected)


def test_long_lists_are_scored_in_parts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, queries = torch.from_numpy(unit_rows(90)), torch.from_numpy(unit_rows(4, 16, 1, "f4"))
    rows = torch.arange(90).expand(4, 90)
    whole = rescore(matrix, queries, rows)
    monkeypatch.setattr(rerank, "_GATHER_BYTES", 4096)
    assert torch.equal(rescore(matrix, queries, rows), whole)


def test_equal_scores_are_ordered_by_id_and_others_not() -> None:
    scores = torch.tensor([[0.5, 0.7, 0.7, 0.5, 0.7]])
    rows = torch.tensor([[4, 1, 3, 0, 2]])
    ids = np.array(["e", "d", "c", "b", "a"])
    best, best_rows = order(scores, rows, 4, lambda asked: ids[asked])
    assert best_rows.tolist() == [[3, 2, 1, 4]]
    assert torch.equal(best, torch.tensor([[0.7, 0.7, 0.7, 0.5]]))
    assert order(scores, rows, 4)[1].tolist() == [[1, 2, 3, 0]]


def test_ids_are_read_only_where_scores_are_equal() -> None:
    def ids(rows: np.ndarray) -> np.ndarray:
        raise AssertionError(rows)

    scores = torch.tensor([[0.5, 0.7, 0.1, 0.1]])
    assert order(scores, torch.arange(4)[None], 2, ids)[1].tolist() == [[1, 0]]


def test_misses_come_last() -> None:
    scores = torch.tensor([[-torch.inf, -0.5, -torch.inf]])
    rows = torch.tensor([[-1, 2, -1]])
    assert order(scores, rows, 2, lambda asked: asked.astype(str))[1].tolist() == [[2, -1]]


def test_the_error_bound_holds() -> None:
    # Vectors whose products all add up, the worst case for rounding, and random ones.
    generator = np.random.default_rng(0)
    for spread in (1e-3, 1.0):
        matrix = np.abs(1 + spread * generator.standard_normal((2000, 512)))
        matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
        queries = torch.from_numpy(matrix[:20] * 3)
        products = queries @ torch.from_numpy(matrix).T
        true = queries.double() @ torch.from_numpy(matrix).double().T
        error = (products.double() - true).abs().amax(dim=1)
        assert (error <= product_error(queries)).all()


def test_coarser_products_have_a_wider_bound() -> None:
    queries = torch.from_numpy(unit_rows(2, 512, dtype="float32"))
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        fine = product_error(queries)
        torch.set_float32_matmul_precision("medium")
        coarse = product_error(queries)
    finally:
        torch.set_float32_matmul_precision(precision)
    assert (fine < 1e-4).all()
    assert (coarse > 7e-3).all()
