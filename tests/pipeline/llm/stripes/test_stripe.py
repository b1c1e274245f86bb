"""Stripes share out the plan: every position is somebody's, once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.stripes.stripe import BLOCK, Stripe


@given(workers=st.integers(1, 9), count=st.integers(0, 400))
def test_every_position_is_one_workers(workers: int, count: int) -> None:
    stripes = [Stripe(worker, workers) for worker in range(workers)]
    positions = sorted(
        stripe.position(number) for stripe in stripes for number in range(stripe.before(count))
    )
    assert positions == list(range(count))


@given(workers=st.integers(1, 9), worker=st.integers(0, 8), number=st.integers(0, 10_000))
def test_numbers_and_positions_are_each_others_way_back(
    workers: int, worker: int, number: int
) -> None:
    stripe = Stripe(worker % workers, workers)
    position = stripe.position(number)
    assert stripe.before(position) == number
    assert stripe.before(position + 1) == number + 1
    assert position // BLOCK % workers == stripe.worker
