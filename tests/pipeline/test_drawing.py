from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.drawing import Drawer, Drawn

TEXTS = [f"caption {row}" for row in range(40)]


def draw(texts: list[str], n: int, seed: int = 0, step: int = 40) -> Drawn:
    drawer = Drawer(n, seed)
    for start in range(0, len(texts), step):
        drawer.add(texts[start : start + step])
    return drawer.drawn("here")


@given(st.integers(1, 50), st.integers(1, 40), st.integers(0, 5))
def test_a_draw_does_not_depend_on_how_the_stream_is_cut(n: int, step: int, seed: int) -> None:
    found = draw(TEXTS, n, seed, step)
    assert found == draw(TEXTS, n, seed)
    assert len(found) == min(n, 40) and found.total == 40
    assert all(TEXTS[row] == text for row, text in zip(found.rows, found.texts, strict=True))
    assert len(set(found.rows)) == len(found)


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_smaller_sample_is_part_of_a_larger_one(n: int, m: int) -> None:
    small, large = sorted((n, m))
    found = draw(TEXTS, large).first(small)
    assert found == draw(TEXTS, small).first(small)
    assert found.rows == tuple(sorted(found.rows)) and found.total == 40


def test_rows_that_may_not_be_drawn_are_not_but_count_as_rows() -> None:
    drawer = Drawer(40, 0)
    drawer.add(TEXTS, [row % 2 == 1 for row in range(40)])
    found = drawer.drawn("here")
    assert sorted(found.rows) == list(range(1, 40, 2)) and found.total == 20


def test_every_row_is_as_likely_as_any_other() -> None:
    counts = Counter(row for seed in range(2000) for row in draw(TEXTS[:10], 3, seed).rows)
    # 600 each, and a standard deviation of sqrt(2000 · 0.3 · 0.7) = 20.5: five of them.
    assert all(counts[row] == pytest.approx(600, abs=103) for row in range(10))
