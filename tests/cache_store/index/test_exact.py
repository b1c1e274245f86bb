from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import DamagedError, DataError, MismatchError, UsageError
from cache_store.index import exact
from cache_store.index.exact import ExactIndex
from cache_store.index.faiss_index import SLACK
from cache_store.index.precision import FORMS
from tests.cache_store.builders import unit_rows
from tests.cache_store.index.oracle import brute_force


def shuffled_ids(count: int, seed: int = 0) -> list[str]:
    """Ids whose order has nothing to do with the order of rows."""
    return [f"{number:08x}" for number in np.random.default_rng(seed).permutation(count)]


def check(
    matrix: Any, queries: Any, k: int, ids: list[str] | None, **options: Any
) -> tuple[Any, Any]:
    index = ExactIndex(torch.from_numpy(matrix), ids, **options)
    scores, rows = index.search(torch.from_numpy(queries), k)
    expected_scores, expected_rows = brute_force(matrix, queries, k, ids)
    np.testing.assert_array_equal(rows.numpy(), expected_rows)
    # Not a tolerance: both round the same float64 sum, up to its own 1e-16, to float32.
    np.testing.assert_array_equal(scores.numpy(), expected_scores)
    assert scores.dtype == torch.float32
    assert rows.dtype == torch.int64
    return scores, rows


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("precision", FORMS)
@pytest.mark.parametrize("block_rows", [None, 1, 7, 500, 501])
def test_it_finds_what_brute_force_finds(
    dtype: str, precision: str, block_rows: int | None
) -> None:
    matrix = unit_rows(500, 64, seed=1, dtype=dtype)
    queries = unit_rows(9, 64, seed=2, dtype="float32")
    check(matrix, queries, 10, shuffled_ids(500), block_rows=block_rows, precision=precision)


@given(
    rows=st.integers(1, 400),
    dim=st.integers(1, 70),
    spread=st.sampled_from([1.0, 0.1, 1e-3, 1e-6]),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_rows_near_each_other_are_found_in_every_precision(
    rows: int, dim: int, spread: float, seed: int, data: st.DataObject
) -> None:
    # Clusters tighter than a coarse product can tell apart, far from the origin: a modality's cone.
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((3, dim)) + 3 * generator.standard_normal(dim)
    matrix = centres[generator.integers(0, 3, rows)]
    matrix += spread * generator.standard_normal((rows, dim))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    queries = generator.standard_normal((4, dim)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    k = data.draw(st.integers(1, rows))
    for precision in FORMS:
        check(matrix.astype(np.float16), queries, k, shuffled_ids(rows, seed), precision=precision)


def test_queries_of_any_length_in_every_precision() -> None:
    matrix = unit_rows(300, 32, seed=1)
    queries = unit_rows(4, 32, seed=2, dtype="float32")
    queries *= np.array([0, 1e-6, 30, 1e6], dtype=np.float32)[:, None]
    for precision in FORMS:
        check(matrix, queries, 9, shuffled_ids(300), precision=precision)


def test_more_equal_rows_than_may_be_held_are_searched_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exact, "_LIST_CELLS", 1000)
    matrix = np.repeat(unit_rows(3, 32), 300, axis=0)
    check(matrix, unit_rows(7, 32, seed=1, dtype="float32"), 5, shuffled_ids(900), block_rows=64)


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(UsageError, match="expected auto, float32, bfloat16, int8, found 'int4'"):
        ExactIndex(torch.from_numpy(unit_rows(3, 16)), precision="int4")


def test_the_threads_of_the_caller_stay_as_they_are() -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            matrix = unit_rows(5000, 16)
            check(matrix, unit_rows(2, 16, seed=1, dtype="float32"), 3, None, block_rows=100)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("k", [1, 5, 499, 500])
def test_any_number_of_neighbours(k: int) -> None:
    matrix, queries = unit_rows(500, 32, seed=1), unit_rows(4, 32, seed=2, dtype="float32")
    check(matrix, queries, k, shuffled_ids(500))


@pytest.mark.parametrize("rows", [20_000, 20_011])
@pytest.mark.parametrize("block_rows", [None, 9_973])
def test_it_finds_them_among_many_rows_too(rows: int, block_rows: int | None) -> None:
    # Rows enough for maxima of runs to choose, and not a multiple of a run; the best lie together.
    queries = unit_rows(5, 16, seed=2, dtype="float32")
    products = queries[0] @ unit_rows(rows, 16, seed=1).T.astype(np.float32)
    matrix = unit_rows(rows, 16, seed=1)[np.argsort(products)]
    check(matrix, queries, 10, shuffled_ids(rows), block_rows=block_rows)
    check(matrix[::-1].copy(), queries, 10, shuffled_ids(rows), block_rows=block_rows)


@pytest.mark.parametrize("copies", [2, 5, SLACK + 10, 300])
@pytest.mark.parametrize("block_rows", [None, 64])
def test_among_equal_rows_the_smaller_id_wins(copies: int, block_rows: int | None) -> None:
    # The copies lie in many blocks and cross the k boundary, and more of them than fit any slack.
    distinct = unit_rows(20, 32, seed=3)
    order = np.random.default_rng(4).permutation(20 * copies)
    matrix = np.ascontiguousarray(np.repeat(distinct, copies, axis=0)[order])
    queries = unit_rows(5, 32, seed=5, dtype="float32")
    for k in (1, 3, copies, copies + 1):
        check(matrix, queries, k, shuffled_ids(len(matrix)), block_rows=block_rows)


def test_without_ids_the_smaller_row_wins() -> None:
    matrix = np.tile(unit_rows(1, 16), (50, 1))
    _, rows = check(matrix, unit_rows(2, 16, seed=1, dtype="float32"), 6, None)
    assert rows.tolist() == [list(range(6))] * 2


def test_rows_closer_than_a_product_can_tell_are_ordered_rightly() -> None:
    # 400 rows whose true scores differ by about 1e-8, far below the error of a float32 product.
    generator = np.random.default_rng(6)
    base = unit_rows(1, 512, seed=7, dtype="float32")
    matrix = np.tile(base, (400, 1))
    matrix += (generator.standard_normal(matrix.shape) * 1e-8).astype(np.float32)
    queries = unit_rows(3, 512, seed=8, dtype="float32")
    check(matrix, queries, 12, shuffled_ids(400), block_rows=37)


def test_a_query_gets_the_same_answer_alone_and_in_any_batch_and_block() -> None:
    matrix = unit_rows(3000, 128, seed=1)
    queries = torch.from_numpy(unit_rows(33, 128, seed=2, dtype="float32"))
    scores, rows = ExactIndex(torch.from_numpy(matrix)).search(queries, 8)
    alone = ExactIndex(torch.from_numpy(matrix), block_rows=211)
    for query in range(33):
        one_scores, one_rows = alone.search(queries[query : query + 1], 8)
        assert torch.equal(one_rows[0], rows[query])
        assert torch.equal(one_scores[0], scores[query])


@given(
    rows=st.integers(1, 40),
    dim=st.integers(1, 9),
    levels=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_coarse_vectors_full_of_ties(
    rows: int, dim: int, levels: int, seed: int, data: st.DataObject
) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.integers(-levels, levels + 1, (rows, dim)).astype(np.float16)
    queries = generator.integers(-levels, levels + 1, (3, dim)).astype(np.float32)
    k = data.draw(st.integers(1, rows))
    # Not unit vectors, which the error bound is for; but sums of small integers have no error.
    check(matrix, queries, k, shuffled_ids(rows, seed), block_rows=data.draw(st.integers(1, 41)))


def test_removed_rows_are_never_found() -> None:
    matrix, queries = unit_rows(60, 16), unit_rows(4, 16, seed=1, dtype="float32")
    removed = np.random.default_rng(0).choice(60, 50, replace=False)
    kept = np.setdiff1d(np.arange(60), removed)
    index = ExactIndex(torch.from_numpy(matrix), excluded=torch.from_numpy(removed))
    assert len(index) == 10
    scores, rows = index.search(torch.from_numpy(queries), 10)
    expected_scores, expected = brute_force(matrix[kept], queries, 10)
    np.testing.assert_array_equal(rows.numpy(), kept[expected])
    np.testing.assert_array_equal(scores.numpy(), expected_scores)
    with pytest.raises(UsageError, match="k from 1 to 10"):
        index.search(torch.from_numpy(queries), 11)


def test_shapes() -> None:
    index = ExactIndex(torch.from_numpy(unit_rows(30, 16)))
    for batch in (0, 1, 5, 1500):
        scores, rows = index.search(torch.zeros(batch, 16), 4)
        assert scores.shape == rows.shape == (batch, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_queries_of_any_precision(dtype: torch.dtype) -> None:
    matrix = unit_rows(200, 16)
    queries = torch.from_numpy(unit_rows(3, 16, seed=1, dtype="float32")).to(dtype)
    rows = ExactIndex(torch.from_numpy(matrix)).search(queries, 5)[1]
    expected = brute_force(matrix, queries.float().numpy(), 5)[1]
    np.testing.assert_array_equal(rows.numpy(), expected)


def test_autocast_and_coarse_products_change_nothing() -> None:
    matrix, queries = unit_rows(2000, 64), unit_rows(20, 64, seed=1, dtype="float32")
    index = ExactIndex(torch.from_numpy(matrix))
    expected = index.search(torch.from_numpy(queries), 8)
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = index.search(torch.from_numpy(queries).requires_grad_(), 8)
    finally:
        torch.set_float32_matmul_precision(precision)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert not found[0].requires_grad


def test_guards() -> None:
    index = ExactIndex(torch.from_numpy(unit_rows(30, 16)))
    query = torch.from_numpy(unit_rows(2, 16, dtype="float32"))
    for k in (0, -1, 31):
        with pytest.raises(UsageError, match=f"expected k from 1 to 30.* found {k}"):
            index.search(query, k)
    for bad in (torch.zeros(2, 15), torch.zeros(16)):
        with pytest.raises(MismatchError, match="wrong width"):
            index.search(bad, 1)
    for value in (torch.nan, torch.inf):
        broken = query.clone()
        broken[1, 3] = value
        with pytest.raises(DataError, match="NaN or infinity: query 1"):
            index.search(broken, 1)
    with pytest.raises(UsageError, match="cannot search this matrix"):
        ExactIndex(torch.zeros(3, 4, dtype=torch.int64))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_stored_vector_that_is_not_finite_is_damage(value: float) -> None:
    matrix = unit_rows(100, 16)
    matrix[70, 2] = value
    with pytest.raises(DamagedError, match="not finite"):
        ExactIndex(torch.from_numpy(matrix)).search(torch.ones(1, 16), 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_answer_bit_for_bit() -> None:
    matrix = np.concatenate([unit_rows(5000, 64), unit_rows(5000, 64)])
    queries = torch.from_numpy(unit_rows(40, 64, seed=1, dtype="float32"))
    ids = shuffled_ids(10_000)
    expected = ExactIndex(torch.from_numpy(matrix), ids).search(queries, 9)
    found = ExactIndex(torch.from_numpy(matrix), ids, "cuda").search(queries.cuda(), 9)
    assert torch.equal(found[0].cpu(), expected[0])
    assert torch.equal(found[1].cpu(), expected[1])
