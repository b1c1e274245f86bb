from __future__ import annotations

from typing import Any

import pytest
from openai.types import Batch

from cache_store.errors import AuthenticationError, BadAnswerError, RateLimitError, RemoteError
from pipeline.llm.batch.collect import Tally
from pipeline.llm.batch.lines import Failure, Kind
from pipeline.llm.batch.rounds import Member
from pipeline.llm.batch.verdict import ATTEMPTS, Verdict, judge
from pipeline.llm.replies import Fault

MEMBERS = [Member(name, place) for place, name in enumerate("abcd")]


def ended(status: str = "completed", **how: Any) -> Batch:
    return Batch.construct(id="batch_1", status=status, errors=None, **how)


def failing(kind: Kind, *names: str, **fault: Any) -> dict[str, Failure]:
    return {name: Failure(kind, "word", Fault("what it said", **fault)) for name in names}


def judged(
    failures: dict[str, Failure],
    *,
    batch: Batch | None = None,
    served: bool = True,
    barren: int = ATTEMPTS,
    members: list[Member] = MEMBERS,
    adapts: bool = False,
) -> tuple[Verdict, list[Failure]]:
    asked: list[Failure] = []

    def adapt(failure: Failure) -> bool:
        asked.append(failure)
        return adapts

    tally = Tally(failures=failures)
    tally.answered = {one.request_id for one in members} - failures.keys()
    verdict = judge(
        batch or ended(),
        members,
        tally,
        served=served,
        barren=barren,
        address="http://s/v1",
        adapt=adapt,
        shown=str.upper,
    )
    return verdict, asked


def test_what_failed_is_asked_again_as_another_attempt() -> None:
    verdict, _ = judged(failing("transient", "b"))
    assert verdict == Verdict(again=[Member("b", 1, attempt=2)])


def test_what_was_not_served_is_asked_again_as_if_nothing_had_happened() -> None:
    verdict, _ = judged(failing("unserved", "b", "c"), batch=ended("expired"))
    assert verdict == Verdict(again=[MEMBERS[1], MEMBERS[2]])


def test_after_its_attempts_a_request_is_given_up_or_ends_a_run_without_answers() -> None:
    tired = [Member("a", 0, ATTEMPTS)]
    verdict, _ = judged(failing("transient", "a"), members=tired)
    assert verdict.given_up == [("a", "word")]
    assert verdict.error is None
    verdict, _ = judged(failing("transient", "a"), members=tired, served=False)
    assert verdict.given_up == []
    assert type(verdict.error) is RemoteError
    assert "WHAT IT SAID" in verdict.error.message
    verdict, _ = judged(failing("transient", "a"), members=tired, served=False, barren=ATTEMPTS - 1)
    assert verdict == Verdict(again=tired), "its earlier attempts were another run's"


def test_answers_that_a_run_stored_before_it_died_count_as_the_server_s() -> None:
    tired = [*MEMBERS[:2], Member("c", 2, ATTEMPTS)]
    stored = Tally(failures=failing("transient", "c"))  # what is in the ledger is not in the tally
    how: dict[str, Any] = {
        "served": False,
        "barren": 3,
        "address": "s",
        "adapt": bool,
        "shown": str,
    }
    verdict = judge(ended("expired"), tired, stored, **how)
    assert verdict == Verdict(given_up=[("c", "word")])


@pytest.mark.parametrize(
    ("kind", "error"), [("key", AuthenticationError), ("quota", RateLimitError)]
)
def test_what_meets_every_request_ends_the_run(kind: Kind, error: type[Exception]) -> None:
    verdict, _ = judged(failing(kind, "a"))
    assert isinstance(verdict.error, error)


def test_a_refusal_is_learnt_from_once_a_fault() -> None:
    failures = failing("refused", "a", "b", param="seed") | failing("refused", "c", "d")
    verdict, asked = judged(failures, served=False, adapts=True)
    assert len(asked) == 2
    assert verdict.again == MEMBERS
    verdict, _ = judged(failures, served=False)
    assert isinstance(verdict.error, BadAnswerError)
    verdict, asked = judged(failures)
    assert asked == [], "others were answered in the same way"
    assert [one.attempt for one in verdict.again] == [2] * 4


def test_a_batch_without_room_comes_again() -> None:
    errors = {"data": [{"code": "token_limit_exceeded", "message": "m"}]}
    batch = Batch.construct(id="b", status="failed", errors=errors)
    verdict, _ = judged(failing("transient", *"abcd"), batch=batch)
    assert verdict == Verdict(again=MEMBERS, too_many=True)


@pytest.mark.parametrize("errors", [None, {"data": None}, {"data": [{"code": "odd"}]}])
def test_a_batch_refused_as_a_whole_ends_the_run(errors: Any) -> None:
    batch = Batch.construct(id="b", status="failed", errors=errors)
    verdict, _ = judged(failing("transient", *"abcd"), batch=batch)
    assert isinstance(verdict.error, BadAnswerError)
    assert verdict.again == []


def test_a_cancelled_batch_ends_the_run_with_what_it_had() -> None:
    verdict, _ = judged(failing("unserved", "c", "d"), batch=ended("cancelled"))
    assert verdict.error is not None
    assert "2 requests without an answer" in verdict.error.message
