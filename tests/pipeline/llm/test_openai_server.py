"""Against a real HTTP server on this machine: mocks of the transport would prove little."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from typing import Literal

import pytest

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    RateLimitError,
    RemoteError,
    UnreachableError,
    UsageError,
)
from pipeline.llm.base import Answer, AttemptFailed
from pipeline.llm.openai_server import OpenAIBackend
from pipeline.llm.scripted_server import ScriptedServer
from prompts.request import Request
from tests.pipeline.llm.requests import chat_request, completion_request

KEY = "sk-secret-0123456789abcdef"


def ask(
    server: ScriptedServer,
    *requests: Request,
    key: str | None = None,
    timeout: float | None = None,
    backend: OpenAIBackend | None = None,
) -> list[Answer]:
    """The answers to some requests, one after the other, by one client."""
    client = backend or OpenAIBackend("scripted", base_url=server.url, api_key=key, timeout=timeout)

    async def all_of_them() -> list[Answer]:
        try:
            return [await client.answer(request) for request in requests]
        finally:
            await client.aclose()

    return asyncio.run(all_of_them())


def failure(script: Sequence[str], **options: object) -> AttemptFailed:
    """How the first attempt fails when the server behaves like this."""
    with ScriptedServer(script, retry_after=options.pop("retry_after", None)) as server:
        with pytest.raises(AttemptFailed) as caught:
            ask(server, chat_request(), **options)
        return caught.value


def test_a_chat_request_brings_text_tokens_and_the_model() -> None:
    request = chat_request()
    with ScriptedServer(model="fake-1") as server:
        (answer,) = ask(server, request)
    assert len(json.loads(answer.text)["captions"]) == request.count
    assert answer.finish_reason == "stop"
    assert answer.model == "fake-1"
    assert answer.prompt_tokens > 0
    assert answer.completion_tokens > 0


def test_what_is_sent_is_what_the_request_says() -> None:
    request = chat_request()
    with ScriptedServer() as server:
        ask(server, request)
    (body,) = server.bodies
    assert body["messages"] == list(request.messages)
    assert body["seed"] == request.seed
    assert body["temperature"] == request.temperature
    assert body["top_p"] == request.top_p
    assert body["max_tokens"] == request.max_tokens
    assert body["response_format"]["json_schema"]["schema"] == request.schema
    assert server.calls == {request.id: 1}, "the id travels as the idempotency key"


def test_a_completion_request_goes_to_the_completion_endpoint() -> None:
    request = completion_request(per_request=3)
    with ScriptedServer() as server:
        (answer,) = ask(server, request)
    (body,) = server.bodies
    assert body["prompt"] == request.prompt
    assert body["stop"] == ["\n"]
    assert body["n"] == 3
    assert "messages" not in body
    assert answer.text


@pytest.mark.parametrize(
    ("structured", "asks_with"), [(True, "response_format"), ("tool", "tools"), (False, "")]
)
def test_structured_output_is_asked_for_in_the_form_that_the_server_takes(
    structured: bool | Literal["tool"], asks_with: str
) -> None:
    requests = [chat_request(index) for index in range(3)]
    with ScriptedServer(structured=structured) as server:
        answers = ask(server, *requests)
    assert all(json.loads(answer.text)["captions"] for answer in answers)
    assert {answer.finish_reason for answer in answers} == {"stop"}
    # Refused bodies are not kept by the server: all three are answered in any case.
    forms = [{"response_format", "tools"} & set(body) for body in server.bodies]
    assert forms == [{asks_with} - {""}] * 3


def test_a_refusal_is_remembered_and_the_first_request_finds_it_out_alone() -> None:
    requests = [chat_request(index) for index in range(6)]
    with ScriptedServer(structured="tool") as server:
        backend = OpenAIBackend("scripted", base_url=server.url)

        async def at_once() -> None:
            await asyncio.gather(*(backend.answer(request) for request in requests))
            await backend.aclose()

        asyncio.run(at_once())
        assert server.refused == 1
    assert backend.describe()["dialects"][server.url]["structured"] == "tool"


def test_what_an_earlier_run_learnt_is_not_found_out_again() -> None:
    with ScriptedServer(structured="tool", refuses=("seed",)) as server:
        first = OpenAIBackend("scripted", base_url=server.url)
        ask(server, chat_request(0), backend=first)
        found_out = server.refused
        again = OpenAIBackend("scripted", base_url=server.url)
        again.recall(first.describe()["dialects"])
        ask(server, chat_request(1), backend=again)
        assert server.refused == found_out == 2


def test_parameters_that_a_model_refuses_by_name_are_left_out_or_renamed() -> None:
    with ScriptedServer(refuses=("max_tokens", "temperature", "seed")) as server:
        ask(server, chat_request())
    (body,) = server.bodies
    assert body["max_completion_tokens"] == chat_request().max_tokens
    assert not {"max_tokens", "temperature", "seed"} & set(body)
    assert "response_format" in body, "what was not refused stays"


def test_a_request_that_is_refused_for_good_is_an_error() -> None:
    with (
        ScriptedServer(refuses=("messages",)) as server,
        pytest.raises(BadAnswerError, match="HTTP 400"),
    ):
        ask(server, chat_request())


def test_a_wrong_key_ends_at_once_and_is_not_shown() -> None:
    with ScriptedServer(key="another") as server, pytest.raises(AuthenticationError) as caught:
        ask(server, chat_request(), key=KEY)
    assert "OPENAI_API_KEY" in caught.value.message
    assert caught.value.exit_code == 5
    assert KEY not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None, "the server's own error repeats the key"


def test_the_key_is_in_no_repr_and_no_description() -> None:
    backend = OpenAIBackend("m", base_url="https://user:pw@example.org/v1?k=v", api_key=KEY)
    shown = repr(backend) + json.dumps(backend.describe())
    asyncio.run(backend.aclose())
    for secret in (KEY, "pw", "user:", "k=v"):
        assert secret not in shown
    assert "https://example.org/v1" in shown


def test_a_server_that_repeats_the_key_does_not_get_it_into_errors() -> None:
    with (
        ScriptedServer(["server_error"], message=f"bad key {KEY}") as server,
        pytest.raises(AttemptFailed) as caught,
    ):
        ask(server, chat_request(), key=KEY)
    assert "***" in caught.value.error.message
    assert KEY not in caught.value.error.message


def test_a_server_on_this_machine_needs_no_key() -> None:
    with ScriptedServer(key="none") as server:
        assert ask(server, chat_request())[0].text


def test_a_server_elsewhere_needs_a_key() -> None:
    with pytest.raises(AuthenticationError, match=r"OPENAI_API_KEY.*--backend local"):
        OpenAIBackend("m", base_url="https://example.org/v1")


def test_too_many_requests_may_be_tried_again_after_the_time_that_was_asked() -> None:
    failed = failure(["rate_limit"], retry_after=7.5)
    assert failed.outcome == "rate_limit"
    assert failed.retry_after == 7.5
    assert isinstance(failed.error, RateLimitError)
    assert not failed.may_cost


@pytest.mark.parametrize(
    ("behaviour", "outcome", "error", "may_cost"),
    [
        ("server_error", "server_error", RemoteError, False),
        ("drop", "no_connection", UnreachableError, True),
        ("not_an_api", "not_an_answer", BadAnswerError, True),
    ],
)
def test_failures_that_may_pass(
    behaviour: str, outcome: str, error: type[RemoteError], may_cost: bool
) -> None:
    failed = failure([behaviour])
    assert failed.outcome == outcome
    assert isinstance(failed.error, error)
    assert failed.may_cost is may_cost
    assert failed.retry_after is None


def test_no_answer_in_time_may_be_tried_again_and_may_cost() -> None:
    failed = failure(["hang"], timeout=0.3)
    assert failed.outcome == "timeout"
    assert failed.may_cost


def test_a_server_that_was_never_there_ends_at_once_and_names_what_is_on_this_machine() -> None:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        backend = OpenAIBackend("m", base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")

        async def one() -> None:
            try:
                await backend.answer(chat_request())
            finally:
                await backend.aclose()

        with pytest.raises(UnreachableError, match=r"--backend local.*--backend grammar"):
            asyncio.run(one())


def test_a_server_that_goes_away_may_come_back() -> None:
    with ScriptedServer() as server:
        backend = OpenAIBackend("m", base_url=server.url)

        async def two() -> None:
            await backend.answer(chat_request(0))
            await asyncio.to_thread(server.close)
            try:
                await backend.answer(chat_request(1))
            finally:
                await backend.aclose()

        with pytest.raises(AttemptFailed) as caught:
            asyncio.run(two())
    assert caught.value.outcome == "no_connection"


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://example.org", "http://", "nonsense"])
def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a server"):
        OpenAIBackend("m", base_url=url, api_key=KEY)
