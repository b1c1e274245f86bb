from __future__ import annotations

import numpy as np
import pytest

from cache_store.checks import check_captions, check_embeddings, find_bad_embedding
from cache_store.errors import DataError
from cache_store.shards import from_matrix
from tests.cache_store.builders import caption_table, unit_rows


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rounded_unit_vectors_pass(dtype: str) -> None:
    # The widest embeddings in use: rounding to float16 moves their norm most.
    assert find_bad_embedding(unit_rows(2000, 1024, dtype=dtype)) is None
    check_embeddings(from_matrix(unit_rows(5, dtype=dtype)))
    check_captions(caption_table(5))


def test_float32_vectors_are_held_to_more() -> None:
    slightly_long = unit_rows(3, dtype="float32") * np.float32(1.005)
    assert find_bad_embedding(slightly_long) == (0, "norm 1.005")
    assert find_bad_embedding(slightly_long.astype(np.float16)) is None


@pytest.mark.parametrize("row", [0, 4095, 4096, 9999])
def test_the_first_bad_row_is_named_wherever_it_is(row: int) -> None:
    matrix = unit_rows(10_000, 4)
    matrix[row:, 0] = np.nan
    assert find_bad_embedding(matrix) == (row, "NaN or infinity")
    with pytest.raises(DataError, match=f"row {row + 7} "):
        check_embeddings(from_matrix(matrix), first_row=7)


def test_a_norm_too_large_for_half_precision_is_still_a_norm() -> None:
    matrix = np.full((1, 4096), 100.0, dtype=np.float16)  # the sum of squares is beyond float16
    assert find_bad_embedding(matrix) == (0, "norm 6400")
