from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.likeness import cosine, nearest_earlier, repeats

Vectors = NDArray[np.floating]


def cloud(n: int, seed: int, dtype: str = "float32", dim: int = 8) -> Vectors:
    """Unit rows around a few centres, so that some are alike, and some copies."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4, dim))
    rows = centres[rng.integers(4, size=n)] + 0.3 * rng.standard_normal((n, dim))
    rows[rng.integers(n, size=n // 8)] = rows[rng.integers(n, size=n // 8)]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)


def greedy(matrix: Vectors, live: list[int], threshold: float) -> dict[int, int]:
    """The definition, row by row and in float64."""
    wide = matrix.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    kept: list[int] = []
    found = {}
    for row in live:
        alike = [k for k in kept if round(float(wide[row] @ wide[k]), 6) >= threshold]
        if alike:
            found[row] = alike[0]
        else:
            kept.append(row)
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@settings(max_examples=40)
@given(
    n=st.integers(1, 60),
    seed=st.integers(0, 50),
    threshold=st.sampled_from([0.5, 0.8, 0.9, 0.99, 1.0]),
    block=st.sampled_from([1, 3, 7, 64]),
)
def test_repeats_are_those_of_the_definition(
    dtype: str, n: int, seed: int, threshold: float, block: int
) -> None:
    matrix = cloud(n, seed, dtype)
    gone, likes = repeats(matrix, np.arange(n), threshold, block_rows=block)
    expected = greedy(matrix, list(range(n)), threshold)
    assert dict(zip(gone.tolist(), likes.tolist(), strict=True)) == expected


def test_only_the_rows_asked_for_are_looked_at() -> None:
    matrix, live = cloud(40, 3), np.arange(1, 40, 2)
    gone, likes = repeats(matrix, live, 0.8, block_rows=6)
    assert dict(zip(gone, likes, strict=True)) == greedy(matrix, live.tolist(), 0.8)
    assert {*gone, *likes} <= {*live}


def test_a_chain_of_neighbours_does_not_carry_rows_away() -> None:
    angles = np.deg2rad([0, 20, 40, 60])
    matrix = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    gone, likes = repeats(matrix, np.arange(4), float(np.cos(np.deg2rad(25))))
    # The row at 40 degrees is near the one at 20 only, and that one went.
    assert (gone.tolist(), likes.tolist()) == ([1, 3], [0, 2])


def test_a_cosine_at_the_threshold_counts_on_either_side_of_the_rounding() -> None:
    matrix = cloud(200, 1, "float16", dim=64)
    cosines, others = nearest_earlier(matrix, np.arange(200))
    for place in (10, 50, 120):
        exact = float(cosines[place])
        pair = np.array(sorted((place + 1, int(others[place]))))
        assert repeats(matrix, pair, exact)[0].tolist() == [pair[1]]
        assert repeats(matrix, pair, exact + 1e-6)[0].tolist() == []


def test_equal_rows_have_a_cosine_of_one_whatever_their_rounding() -> None:
    row = cloud(1, 5, "float16")[0]
    matrix = np.stack([row, row])
    assert abs(float((row.astype(np.float64) ** 2).sum()) - 1) > 1e-6  # float16 is not unit norm
    assert cosine(matrix, 0, 1) == 1.0
    assert repeats(matrix, np.arange(2), 1.0)[0].tolist() == [1]


@settings(max_examples=40)
@given(n=st.integers(2, 60), seed=st.integers(0, 50), block=st.sampled_from([1, 5, 64]))
def test_the_nearest_earlier_row_is_that_of_the_whole_product(
    n: int, seed: int, block: int
) -> None:
    matrix = cloud(n, seed)
    cosines, others = nearest_earlier(matrix, np.arange(n), block_rows=block)
    wide = matrix.astype(np.float64)
    products = wide @ wide.T
    best = [products[row, :row].max() for row in range(1, n)]
    # Float32 products choose among rows that are equal to 1e-6.
    assert cosines == pytest.approx(best, abs=2e-6)
    assert all(other < row for row, other in enumerate(others, start=1))


def test_nothing_repeats_in_nothing() -> None:
    empty = np.empty((0, 4), dtype=np.float32)
    assert [one.tolist() for one in repeats(empty, np.arange(0), 0.9)] == [[], []]


def test_ticks_add_up_to_the_rows() -> None:
    done: list[int] = []
    repeats(cloud(25, 0), np.arange(25), 0.9, block_rows=10, tick=done.append)
    nearest_earlier(cloud(25, 0), np.arange(25), block_rows=10, tick=done.append)
    assert sum(done) == 50
