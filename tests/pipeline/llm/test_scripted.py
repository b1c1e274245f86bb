from __future__ import annotations

import asyncio
import json

import pytest

from cache_store.errors import AuthenticationError, UsageError
from pipeline.llm.base import Answer, AttemptFailed
from pipeline.llm.scripted import BEHAVIOURS, DUPLICATE, Actor, Call, ScriptedBackend
from prompts.schema import Accepted, Rejected, parse
from tests.pipeline.llm.requests import chat_request, completion_request


def answer(behaviour: str, index: int = 0) -> Answer:
    return asyncio.run(ScriptedBackend([behaviour], patience=0.0).answer(chat_request(index)))


def judged(one: Answer) -> list[Accepted | Rejected]:
    return parse(one.text, chat_request(), finish_reason=one.finish_reason)


def test_good_answers_are_captions_that_can_be_kept() -> None:
    one = answer("good")
    assert any(isinstance(piece, Accepted) for piece in judged(one))
    assert one.model == "scripted"
    assert one.prompt_tokens > 0
    assert one.completion_tokens > 0


@pytest.mark.parametrize("behaviour", ["refusal", "garbage"])
def test_useless_answers_are_refused(behaviour: str) -> None:
    assert all(isinstance(piece, Rejected) for piece in judged(answer(behaviour)))


def test_duplicates_are_one_caption_again_and_again() -> None:
    assert set(json.loads(answer("duplicates").text)["captions"]) == {DUPLICATE}


def test_a_cut_answer_says_so_and_is_no_json() -> None:
    one = answer("cut")
    assert one.finish_reason == "length"
    with pytest.raises(ValueError, match=r"."):
        json.loads(one.text)


@pytest.mark.parametrize(
    ("behaviour", "outcome", "may_cost"),
    [
        ("rate_limit", "rate_limit", False),
        ("server_error", "server_error", False),
        ("hang", "timeout", True),
        ("drop", "no_connection", True),
        ("not_an_api", "not_an_answer", True),
    ],
)
def test_failures_are_those_of_a_real_client(behaviour: str, outcome: str, may_cost: bool) -> None:
    with pytest.raises(AttemptFailed) as caught:
        answer(behaviour)
    assert (caught.value.outcome, caught.value.may_cost) == (outcome, may_cost)


def test_a_wrong_key_is_final() -> None:
    with pytest.raises(AuthenticationError):
        answer("unauthorized")


def test_a_list_is_repeated_without_end() -> None:
    actor = Actor(["good", "garbage"])
    assert [actor.next(chat_request()) for _ in range(5)] == [
        *("good", "garbage", "good", "garbage", "good")
    ]


def test_a_function_sees_each_call() -> None:
    seen: list[Call] = []

    def script(call: Call) -> str:
        seen.append(call)
        return "good"

    actor = Actor(script)
    first, second = chat_request(0), chat_request(1)
    for request in (first, second, first):
        actor.next(request)
    assert [(call.number, call.attempt) for call in seen] == [(0, 0), (1, 0), (2, 1)]
    assert actor.calls == {first.id: 2, second.id: 1}


@pytest.mark.parametrize("script", [["goood"], [], lambda call: "goood"])
def test_an_unknown_behaviour_names_the_known_ones(script: object) -> None:
    with pytest.raises(UsageError) as caught:
        Actor(script).next(chat_request())
    assert all(name in caught.value.message for name in BEHAVIOURS)


def test_a_completion_request_is_answered_in_lines() -> None:
    backend = ScriptedBackend(style="completion")
    one = asyncio.run(backend.answer(completion_request()))
    assert not one.text.startswith("{")
