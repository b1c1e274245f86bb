from __future__ import annotations

import numpy as np
import pytest
import torch

from cache_store.index import scan as module
from cache_store.index.candidates import TooManyError
from cache_store.index.precision import FORMS
from cache_store.index.scan import scan
from tests.cache_store.builders import unit_rows
from tests.cache_store.index.oracle import brute_force


@pytest.mark.parametrize("precision", FORMS)
@pytest.mark.parametrize("pairs", [7, 512])
def test_the_answer_is_among_the_rows_and_few_others_are(
    precision: str, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAIRS", pairs)
    matrix, queries = unit_rows(3000, 64, seed=1), unit_rows(6, 64, seed=2, dtype="float32")
    rows = scan(
        FORMS[precision](torch.from_numpy(matrix)),
        torch.from_numpy(matrix),
        torch.from_numpy(queries),
        5,
        10_000,
        block_rows=1000,
    )
    expected = brute_force(matrix, queries, 5)[1]
    for line, best in zip(rows.tolist(), expected.tolist(), strict=True):
        assert set(best) <= set(line)
        assert len({row for row in line if row >= 0}) == sum(row >= 0 for row in line)
    # Coarse products let in many more than k; where they do, float32 products leave few.
    assert (rows >= 0).sum() <= 2 * 5 * 6


def test_rows_that_may_not_be_returned_are_not() -> None:
    matrix = torch.from_numpy(unit_rows(300, 32))
    live = torch.zeros(300, dtype=torch.bool)
    live[::7] = True
    rows = scan(FORMS["float32"](matrix), matrix, matrix[:3].float(), 4, 10_000, live)
    assert live[rows[rows >= 0]].all()


def test_one_query_with_very_many_does_not_widen_the_lines_of_all() -> None:
    row = unit_rows(1, 32)
    matrix = torch.from_numpy(np.concatenate([np.repeat(row, 100, axis=0), -unit_rows(9, 32, 1)]))
    queries = torch.cat([matrix[:1], matrix[100:]]).float()
    with pytest.raises(TooManyError):
        scan(FORMS["float32"](matrix), matrix, queries, 1, 300)
    assert scan(FORMS["float32"](matrix), matrix, queries[:1], 1, 300).shape == (1, 100)
