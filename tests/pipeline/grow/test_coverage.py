from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from pipeline.grow.coverage import Coverage, Scores, held, judge, rise, score
from pipeline.grow.reference import make_reference
from tests.pipeline.grow.test_reference import clouds, unit


def scores_of(typical: NDArray[np.float32], spread: float = 0.02) -> Scores:
    return Scores(typical, typical, np.full(len(typical), spread, np.float32))


def random_scores(seed: int, clips: int = 12, concepts: int = 6) -> Scores:
    rng = np.random.default_rng(seed)
    return scores_of(rng.uniform(-0.2, 0.8, (clips, concepts)).astype(np.float32))


def test_scores_are_medians_of_cosines_with_centred_wordings() -> None:
    words = clouds(concepts=4, count=5)
    made = make_reference(words, words)
    clips = unit(np.random.default_rng(1).standard_normal((300, 16)))  # more than one block
    found = score(clips, made)
    assert found.typical.shape == found.plain.shape == (300, 4)
    for clip in (0, 255, 256, 299):
        for concept in range(4):
            moved = words[concept].astype(np.float64) - made.centre
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
            # float32 products of unit vectors are off by some 1e-7 a term.
            assert found.typical[clip, concept] == pytest.approx(
                np.median(moved @ clips[clip]), abs=2e-6
            )
            assert found.plain[clip, concept] == pytest.approx(
                np.median(words[concept] @ clips[clip]), abs=2e-6
            )
        best = int(found.typical[clip].argmax())
        moved = words[best].astype(np.float64) - made.centre
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        low, high = np.quantile(moved @ clips[clip], (0.25, 0.75))
        assert found.spread[clip] == pytest.approx((high - low) / 1.349, abs=5e-6)


@given(st.integers(0, 1000), st.sets(st.integers(0, 5)))
def test_the_gap_is_what_the_best_concept_has_over_the_best_that_is_held(
    seed: int, which: set[int]
) -> None:
    scores = random_scores(seed)
    have = np.isin(np.arange(6), list(which))
    found = judge(scores, have, [""] * 6)
    for clip, row in enumerate(scores.typical):
        best = int(row.argmax())
        assert found.best[clip] == best
        offered = max((row[c] for c in which), default=-1.0)
        assert found.gap[clip] == pytest.approx(row[best] - offered)
        if best in which:
            assert found.gap[clip] == 0
    assert not (found.far & found.near_nothing).any()
    assert (found.far | found.near_nothing | found.covered).all()
    assert found.share == found.covered.mean()


@given(st.integers(0, 1000), st.sets(st.integers(0, 5)), st.integers(0, 5))
def test_captions_about_one_more_concept_never_lose_a_clip(
    seed: int, which: set[int], more: int
) -> None:
    scores = random_scores(seed)
    less = judge(scores, np.isin(np.arange(6), list(which)), [""] * 6)
    grown = judge(scores, np.isin(np.arange(6), [*which, more]), [""] * 6)
    assert (grown.covered >= less.covered).all()
    assert (grown.gap <= less.gap).all()


def test_a_difference_smaller_than_that_of_wordings_is_none() -> None:
    typical = np.array([[0.50, 0.49, 0.1], [0.50, 0.40, 0.1]], np.float32)
    found = judge(scores_of(typical, spread=0.02), np.array([False, True, True]), ["", "", ""])
    assert found.threshold == pytest.approx(0.02)
    assert found.far.tolist() == [False, True]


def test_a_clip_that_fits_no_better_than_what_is_wrong_is_near_nothing() -> None:
    # Two groups; nine clips fit their concept well, the last one nothing.
    typical = np.full((10, 4), 0.2, np.float32)
    typical[np.arange(9), np.arange(9) % 4] = 0.6
    typical[9] = (0.15, 0.1, 0.1, 0.1)
    found = judge(scores_of(typical), np.zeros(4, bool), ["a", "a", "b", "b"])
    assert found.near_nothing.tolist() == [False] * 9 + [True]
    assert found.far.tolist() == [True] * 9 + [False]


def test_with_one_group_nothing_is_known_to_be_wrong() -> None:
    found = judge(random_scores(0), np.zeros(6, bool), ["a"] * 6)
    assert not found.near_nothing.any()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0, 0], [False, False, False]),
        ([0, 1, 5], [False, True, True]),
        ([0, 3, 1000, 1200, 900], [False, False, True, True, True]),
        ([49, 1000, 1000], [False, True, True]),
        ([50, 1000, 1000], [True, True, True]),
    ],
)
def test_a_concept_is_held_with_some_captions_and_not_a_handful_among_many(
    counts: list[int], expected: list[bool]
) -> None:
    assert held(np.array(counts)).tolist() == expected


def coverage(covered: int, of: int) -> Coverage:
    far = np.arange(of) >= covered
    nothing = np.zeros(of, bool)
    return Coverage(np.zeros(of, np.int64), far.astype(np.float32), 0.5, far, nothing)


@pytest.mark.parametrize(("covered", "of"), [(0, 10), (10, 10), (60, 80), (3, 1000)])
def test_the_interval_is_that_of_a_resampled_share(covered: int, of: int) -> None:
    low, high = coverage(covered, of).interval()
    # Resampling n clips of which a share p is covered draws from the binomial distribution.
    exact = binom.ppf((0.025, 0.975), of, covered / of) / of if 0 < covered < of else [covered / of]
    assert low == pytest.approx(exact[0], abs=1.5 / of)
    assert high == pytest.approx(exact[-1], abs=1.5 / of)
    assert coverage(covered, of).interval() == (low, high), "the same each time"


@pytest.mark.parametrize(("more", "real"), [(0, False), (1, False), (2, False), (4, True)])
def test_a_rise_by_one_or_two_clips_is_noise(more: int, real: bool) -> None:
    change, told = rise(coverage(40, 80), coverage(40 + more, 80))
    assert change == pytest.approx(more / 80)
    assert told is real
