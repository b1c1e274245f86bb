from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.prices import Price
from pipeline.planning import Knowledge, Pace, Range, Storage, Task, forecast

EXACT = Knowledge(Range.exactly(4), Range.exactly(300), Range.exactly(80))

positive = st.floats(0.01, 1e6)
shares = st.floats(0.01, 1)


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    middle = draw(positive)
    return Range(middle, middle * draw(shares), middle / draw(shares))


def test_what_is_known_exactly_gives_exact_numbers() -> None:
    seen = forecast(Task(100, 5), EXACT, price=Price(1.0, 2.0))
    assert seen.requests == seen.sent == Range.exactly(25)
    assert seen.read == Range.exactly(25 * 300)
    assert seen.written == Range.exactly(25 * 80)
    assert seen.usd is not None
    assert seen.usd.expected == pytest.approx((25 * 300 * 1 + 25 * 80 * 2) / 1e6)


def test_nothing_missing_takes_nothing() -> None:
    seen = forecast(Task(0, 5), EXACT, price=Price(1.0, 2.0), pace=Pace(60))
    assert {seen.requests, seen.read, seen.written, seen.usd, seen.seconds} == {Range.exactly(0)}


def test_answers_of_the_ledger_cost_nothing() -> None:
    seen = forecast(Task(100, 5, answered=10), EXACT)
    assert (seen.requests.expected, seen.sent.expected) == (25, 15)
    assert seen.read.expected == 15 * 300
    assert forecast(Task(100, 5, answered=1000), EXACT).sent == Range.exactly(0)


def test_what_is_in_flight_at_the_end_may_come_on_top() -> None:
    seen = forecast(Task(100, 5, in_flight=8), EXACT)
    assert (seen.requests, seen.sent) == (Range.exactly(25), Range(25, 25, 33))


def test_no_request_brings_more_than_it_is_asked_for() -> None:
    known = Knowledge(Range(4, 1, 5), Range.exactly(1), Range.exactly(1))
    seen = forecast(Task(101, 5), known)
    assert seen.requests.low == 21
    assert seen.requests.high == 101


@given(ranges(), ranges())
def test_a_product_lies_between_the_extremes_and_holds_the_middle(a: Range, b: Range) -> None:
    product = a.by(b)
    assert product.low <= product.expected <= product.high
    assert product.expected == pytest.approx(a.expected * b.expected)
    # Independent errors are smaller together than all of them at once.
    assert product.low >= a.low * b.low * (1 - 1e-9)
    assert product.high <= a.high * b.high * (1 + 1e-9)


def test_errors_of_a_product_add_as_those_of_independent_numbers_do() -> None:
    """Against simulation: two factors that are log-normal, ranges of two standard deviations."""
    rng = random.Random(1)
    draws = [math.exp(rng.gauss(0, 0.1)) * math.exp(rng.gauss(0, 0.05)) for _ in range(20_000)]
    spread = statistics.stdev(map(math.log, draws))
    one = Range(1, math.exp(-0.2), math.exp(0.2))
    other = Range(1, math.exp(-0.1), math.exp(0.1))
    # 20,000 draws tell a standard deviation to 0.5 %; three of those are allowed.
    assert math.log(one.by(other).high) / 2 == pytest.approx(spread, rel=0.015)


@given(ranges(), ranges(), st.integers(1, 10**6), st.integers(1, 20))
def test_expected_values_lie_in_their_ranges(
    kept: Range, tokens: Range, missing: int, count: int
) -> None:
    seen = forecast(Task(missing, count), Knowledge(kept, tokens, tokens), price=Price(1, 1))
    assert seen.usd is not None
    for one in (seen.requests, seen.sent, seen.read, seen.written, seen.usd):
        assert 0 <= one.low <= one.expected <= one.high


@pytest.mark.parametrize(
    ("pace", "seconds", "bound"),
    [
        (Pace(requests_per_minute=5), 300, "the limit on requests"),
        (Pace(tokens_per_minute=950), 600, "the limit on tokens"),
        (Pace(answers_per_second=Range.exactly(0.5)), 50, "the model's pace"),
        (Pace(5, 950, Range.exactly(0.5)), 600, "the limit on tokens"),
    ],
)
def test_the_slowest_bounds_the_time(pace: Pace, seconds: float, bound: str) -> None:
    seen = forecast(Task(100, 5), EXACT, pace=pace)
    assert seen.seconds is not None
    assert seen.seconds.expected == pytest.approx(seconds)
    assert seen.bound == bound


def test_without_any_bound_the_time_is_not_known() -> None:
    assert forecast(Task(100, 5), EXACT).seconds is None


def test_a_range_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="not in order"):
        Range(1, 2, 3)


def test_embeddings_are_the_bulk_of_the_disk() -> None:
    taken = Storage(512, 2).bytes(captions=1000, rejects=100, answers=250, written=20_000)
    assert taken["index"] == 1000 * 512 * 2
    assert taken["index"] > taken["embeddings"] > taken["captions"] > 0
    wide = Storage(512, 4).bytes(captions=1000, rejects=100, answers=250, written=20_000)
    assert wide["index"] == 2 * taken["index"]
    assert wide["ledger"] == taken["ledger"]
