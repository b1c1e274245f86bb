from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grow.concepts import MOST_REPEATS, choose, repeats
from pipeline.grow.coverage import judge
from tests.pipeline.grow.test_coverage import random_scores, scores_of


@given(
    st.integers(0, 1000),
    st.sets(st.integers(0, 5)),
    st.sets(st.integers(0, 5)),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_each_far_clip_is_served_waits_or_cannot_be_served(
    seed: int, which: set[int], asked: set[int], most: int | None
) -> None:
    scores = random_scores(seed)
    have = np.isin(np.arange(6), list(which))
    state = judge(scores, have, ["a", "b"] * 3)
    choice = choose(scores, state, have, asked, most)
    far = int(state.far.sum())
    assert sum(choice.clips) + choice.unserved + choice.later == far
    assert not set(choice.concepts) & (which | asked), "neither held nor asked before"
    assert len(set(choice.concepts)) == len(choice.concepts) == len(choice.repeats)
    assert list(choice.clips) == sorted(choice.clips, reverse=True)
    if most is None:
        assert choice.later == 0
    else:
        assert len(choice.concepts) <= most
    # What it promises: once those are held, the clips that they serve are covered.
    grown = judge(scores, have | np.isin(np.arange(6), choice.concepts), ["a", "b"] * 3)
    assert int(grown.far.sum()) <= choice.unserved + choice.later


def test_one_of_several_relatives_is_enough() -> None:
    # Concepts 0 to 2 fit all clips alike (dog, guard dog, howling dog), 3 fits the last one alone.
    typical = np.array([[0.5, 0.505, 0.5, 0.1]] * 5 + [[0.1, 0.1, 0.1, 0.5]], np.float32)
    scores = scores_of(typical, spread=0.02)
    state = judge(scores, np.zeros(4, bool), ["a"] * 4)
    choice = choose(scores, state, np.zeros(4, bool), ())
    assert choice.concepts == (1, 3)
    assert choice.clips == (5, 1)


def test_the_concept_that_serves_most_comes_first_when_not_all_can() -> None:
    typical = np.array([[0.5, 0.1]] * 2 + [[0.1, 0.5]] * 3, np.float32)
    scores = scores_of(typical)
    state = judge(scores, np.zeros(2, bool), ["a"] * 2)
    choice = choose(scores, state, np.zeros(2, bool), (), most=1)
    assert (choice.concepts, choice.clips, choice.later) == ((1,), (3,), 2)


def test_nothing_far_asks_for_nothing() -> None:
    scores = random_scores(1)
    everything = np.ones(6, bool)
    choice = choose(scores, judge(scores, everything, [""] * 6), everything, ())
    assert (choice.concepts, choice.unserved, choice.later) == ((), 0, 0)


@pytest.mark.parametrize(
    ("clips", "expected"),
    [((), ()), ((1,), (1,)), ((9, 1), (3, 1)), ((5, 4), (1, 1)), ((10_000, 1), (MOST_REPEATS, 1))],
)
def test_more_clips_ask_for_more_but_not_for_all(
    clips: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert repeats(clips) == expected
