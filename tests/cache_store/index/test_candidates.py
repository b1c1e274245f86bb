from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache_store.index.candidates import Candidates, Pairs, TooManyError, keep_best, spread


def kept(values: Any, k: int, margin: float) -> list[list[int]]:
    """By the definition: all within the margin of the k-th best; -inf never."""
    lines = []
    for line in values:
        floor = np.sort(line)[-k] - np.float32(margin)
        lines.append(np.flatnonzero((line >= floor) & (line > -np.inf)).tolist())
    return lines


@given(
    queries=st.integers(1, 5),
    rows=st.integers(1, 700),
    block=st.integers(1, 701),
    margin=st.sampled_from([0.0, 0.125, 2.0]),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_what_is_kept_is_what_the_definition_says(
    queries: int, rows: int, block: int, margin: float, seed: int, data: st.DataObject
) -> None:
    # Sixteenths: many are equal, and the margin is exact. Some rows are excluded.
    generator = np.random.default_rng(seed)
    values = (generator.integers(-16, 17, (queries, rows)) / 16).astype(np.float32)
    values[:, generator.random(rows) < 0.1] = -np.inf
    k = data.draw(st.integers(1, rows))
    found = Candidates(torch.full((queries,), margin), k, queries * rows)
    for start in range(0, rows, block):
        found.add(torch.from_numpy(values[:, start : start + block]), start)
    pairs = found.pairs()
    assert (pairs.queries.diff() >= 0).all()
    for query, expected in enumerate(kept(values, k, margin)):
        mine = pairs.queries == query
        assert sorted(pairs.rows[mine].tolist()) == expected
        assert (pairs.values[mine].numpy() == values[query, pairs.rows[mine]]).all()


def test_a_row_that_is_not_a_number_is_kept_to_be_found_out() -> None:
    found = Candidates(torch.zeros(1), 2, 100)
    values = torch.arange(40.0)[None]
    values[0, 3] = torch.nan
    found.add(values, 0)
    assert 3 in found.pairs().rows.tolist()


def test_more_than_the_limit_is_an_error() -> None:
    found = Candidates(torch.zeros(2), 1, 10)
    with pytest.raises(TooManyError):
        found.add(torch.ones(2, 6), 0)


def test_none_at_all() -> None:
    pairs = Candidates(torch.zeros(3), 1, 10).pairs()
    assert [len(part) for part in pairs] == [0, 0, 0]


def test_pairs_are_pruned_by_better_products() -> None:
    queries = torch.tensor([1, 0, 1, 1, 0])
    values = torch.tensor([0.5, 0.25, 1.0, 0.75, 0.5])
    pairs = Pairs(queries, torch.arange(5), values)
    best = keep_best(pairs, torch.tensor([0.0, 0.25]), 1)
    assert best.queries.tolist() == [0, 1, 1]
    assert best.rows.tolist() == [4, 2, 3]


def test_lines_are_filled_to_the_longest_or_the_width() -> None:
    queries, values = torch.tensor([0, 0, 2]), torch.tensor([7, 8, 9])
    assert spread(queries, values, 3, 1, -1).tolist() == [[7, 8], [-1, -1], [9, -1]]
    assert spread(queries[:0], values[:0], 2, 3, -1).tolist() == [[-1] * 3] * 2
