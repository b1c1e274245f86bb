from __future__ import annotations

import pytest

from cache_store.errors import RemoteError, UnreachableError
from pipeline.llm.base import AttemptFailed
from pipeline.llm.doubts import Doubts
from tests.pipeline.llm.requests import small_plan

PLAN = small_plan()


def failure(error: RemoteError) -> AttemptFailed:
    return AttemptFailed("timeout", error)


def filled(doubts: Doubts, count: int) -> Doubts:
    for place in range(count):
        doubts.add(place, PLAN.request(place), failure(UnreachableError("no answer", where="here")))
    return doubts


@pytest.mark.parametrize(("concurrency", "longest"), [(1, 10), (5, 10), (6, 12), (64, 128)])
def test_the_streak_is_twice_the_concurrency_and_ten_at_least(
    concurrency: int, longest: int
) -> None:
    assert not filled(Doubts(concurrency), longest - 1).hopeless
    assert filled(Doubts(concurrency), longest).hopeless


def test_what_is_believed_is_no_doubt_any_more() -> None:
    doubts = filled(Doubts(1), 10)
    assert [place for place, _, _ in doubts] == list(range(10))
    doubts.clear()
    assert len(doubts) == 0
    assert not doubts.hopeless


def test_the_error_is_the_last_failures_with_the_number_of_all() -> None:
    doubts = filled(Doubts(1), 3)
    error = doubts.error()
    assert type(error) is UnreachableError
    assert str(error).startswith("3 requests in a row got no answer: no answer: here")
    assert "what was answered is kept" in str(error)


def test_the_error_of_a_single_failure_is_its_own() -> None:
    doubts = Doubts(1)
    doubts.add(0, PLAN.request(0), failure(RemoteError("gone", hint="Start it again")))
    assert str(doubts.error()).startswith("gone")
    assert "Start it again" in str(doubts.error())
