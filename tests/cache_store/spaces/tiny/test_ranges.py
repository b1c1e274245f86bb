"""The splits' bands never meet, whatever the range and the generator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import UsageError
from cache_store.spaces.tiny.ranges import BANDS, SPLITS, Draw, position_of, value_at

SMALLEST_GAP = 0.019  # of a range, between bands of different splits
ROUNDING = 1e-6  # positions are recovered through exp and log

seeds = st.integers(0, 2**32 - 1)
ranges = st.one_of(
    st.tuples(st.floats(1e-3, 1e4), st.floats(1.05, 100)).map(lambda r: (r[0], r[0] * r[1])),
    st.tuples(st.floats(-100, 0), st.floats(0.1, 100)).map(lambda r: (r[0], r[0] + r[1])),
)


def test_bands_of_different_splits_are_apart_and_cover_most_of_the_range() -> None:
    for one, other in itertools.combinations(SPLITS, 2):
        for (low, high), (from_, to) in itertools.product(BANDS[one], BANDS[other]):
            assert from_ - high >= SMALLEST_GAP or low - to >= SMALLEST_GAP, (one, other)
    for bands in BANDS.values():
        assert all(0 <= low < high <= 1 for low, high in bands)
        assert list(bands) == sorted(bands)


@given(seeds, ranges, st.sampled_from(SPLITS))
def test_every_value_lies_in_a_band_of_its_split(
    seed: int, limits: tuple[float, float], split: str
) -> None:
    low, high = limits
    values = Draw(np.random.default_rng(seed), split).each("x", low, high, 50)
    positions = position_of(values, low, high)
    inside = [
        (positions >= start - ROUNDING) & (positions <= stop + ROUNDING)
        for start, stop in BANDS[split]
    ]
    assert np.logical_or.reduce(inside).all()


@given(seeds, ranges)
def test_no_value_of_one_split_could_have_been_drawn_by_another(
    seed: int, limits: tuple[float, float]
) -> None:
    low, high = limits
    positions = {
        split: position_of(
            Draw(np.random.default_rng(seed), split).each("x", low, high, 50), *limits
        )
        for split in SPLITS
    }
    for one, other in itertools.combinations(SPLITS, 2):
        distance = np.abs(positions[one][:, None] - positions[other][None])
        assert distance.min() >= SMALLEST_GAP - 2 * ROUNDING


def test_all_bands_of_a_split_are_used_in_proportion_to_their_width() -> None:
    positions = Draw(np.random.default_rng(0), "train").each("x", 0.0, 1.0, 6000)
    shares = [np.mean((positions >= a) & (positions <= b)) for a, b in BANDS["train"]]
    # Three bands of equal width; the standard error of a share of 6,000 draws is 0.006.
    assert np.allclose(shares, 1 / 3, atol=0.03)


@given(st.floats(0, 1), ranges)
def test_position_is_the_inverse_of_value(position: float, limits: tuple[float, float]) -> None:
    value = value_at(np.array([position]), *limits)
    assert limits[0] - 1e-6 <= value[0] <= limits[1] * (1 + 1e-6) + 1e-6
    assert np.allclose(position_of(value, *limits), position, atol=1e-6)


def test_draw_remembers_what_it_drew() -> None:
    draw = Draw(np.random.default_rng(0), "demo")
    one = draw("pitch", 100, 200)
    more = draw.each("pitch", 100, 200, 2)
    assert draw.drawn == {"pitch": (100, 200, [one, *more.tolist()])}


def test_unknown_split_is_named() -> None:
    with pytest.raises(UsageError, match=r"train, demo, held-out.*found test"):
        Draw(np.random.default_rng(0), "test")
