from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.spaces.text_batches import ahead, batches


@given(
    lengths=st.lists(st.integers(1, 80), max_size=60),
    tokens=st.integers(1, 300),
    most=st.none() | st.integers(1, 20),
)
def test_batches_hold_each_text_once_longest_first_within_their_bounds(
    lengths: list[int], tokens: int, most: int | None
) -> None:
    sizes = np.array(lengths, dtype=np.int64)
    found = list(batches(sizes, tokens=tokens, most=most))
    order = [int(text) for batch in found for text in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert all(lengths[a] >= lengths[b] for a, b in pairwise(order))
    for batch in found:
        assert 1 <= len(batch) <= (most or len(lengths))
        assert len(batch) == 1 or sizes[batch].sum() <= tokens
    # None could have taken the first text of the next one.
    for batch, following in pairwise(found):
        assert len(batch) == most or sizes[batch].sum() + sizes[following[0]] > tokens


@given(st.lists(st.integers(), max_size=8))
def test_ahead_is_map(items: list[int]) -> None:
    assert list(ahead(lambda item: item * 2, items)) == [item * 2 for item in items]


def test_ahead_works_on_the_next_item_while_this_one_is_used() -> None:
    started = [threading.Event() for _ in range(3)]

    def work(item: int) -> int:
        started[item].set()
        return item

    for item in ahead(work, range(3)):
        if item < 2:
            assert started[item + 1].wait(10)


def test_ahead_does_a_single_item_where_it_is_asked() -> None:
    assert list(ahead(lambda _: threading.get_ident(), [0])) == [threading.get_ident()]


def test_ahead_raises_in_turn() -> None:
    results = ahead(lambda item: 1 // item, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
