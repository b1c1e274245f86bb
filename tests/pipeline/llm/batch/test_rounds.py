from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.batch.rounds import (
    Member,
    file_name,
    is_of_plan,
    metadata,
    round_name,
    span,
)

IDS = st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1, unique=True)


@given(IDS, st.randoms())
def test_a_round_is_named_by_its_requests_whatever_their_order(ids: list[str], rng: object) -> None:
    mixed = list(ids)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    assert round_name(mixed) == round_name(ids)
    assert round_name([*ids, "another"]) != round_name(ids)


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_metadata_keeps_within_the_limits_of_the_server(positions: list[int]) -> None:
    members = [Member(f"{position:032x}", position) for position in positions]
    carried = metadata("a" * 16, round_name("x"), members)
    assert len(carried) <= 16
    assert all(len(name) <= 64 and len(value) <= 512 for name, value in carried.items())
    assert is_of_plan(carried, "a" * 16)
    assert not is_of_plan(carried, "b" * 16)
    found = span(carried)
    assert not found or (found.start, found.stop - 1) == (min(positions), max(positions))


def test_foreign_metadata_is_of_no_plan_and_spans_nothing() -> None:
    assert not is_of_plan(None, "p")
    assert not is_of_plan({"plan": "p"}, "p")
    assert not is_of_plan({"lqtse": "2", "plan": "p"}, "p"), "a format of the future"
    assert span({"first": "x", "last": "3"}) == range(0)
    assert span({"last": "3"}) == range(0)
    assert span({"first": "0", "last": "999999999999"}) == range(0), "never walked through"
    assert span({"first": "-5", "last": "3"}) == range(0)
    assert span({"first": "4", "last": "6"}) == range(4, 7)


def test_a_file_is_named_after_its_round() -> None:
    assert file_name("abc") == "lqtse-abc.jsonl"
