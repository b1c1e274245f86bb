from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.llm.base import Answer
from pipeline.llm.batch.lines import (
    CHAT_ENDPOINT,
    COMPLETION_ENDPOINT,
    Failure,
    Line,
    input_line,
    read_line,
)
from pipeline.llm.dialect import Dialect
from pipeline.llm.openai_server import OpenAIBackend
from pipeline.llm.scripted_server import ScriptedServer
from prompts.request import Request
from tests.pipeline.llm.requests import chat_request, completion_request


def read(line: Any) -> Line:
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    return read_line(text, chat=True, model="m")


def reply(status: int, body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "response": {"status_code": status, "body": body}, "error": None}


def completion(content: str | None = "hello", reason: str = "stop", **message: Any) -> Any:
    choice = {"message": {"content": content, **message}, "finish_reason": reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    return {"model": "m-1", "choices": [choice], "usage": usage}


def failed(line: Any) -> Failure:
    result = read(line).result
    assert isinstance(result, Failure)
    return result


@pytest.mark.parametrize("request_", [chat_request(3), completion_request(2, per_request=4)])
def test_a_line_holds_what_a_single_request_would_send(request_: Request) -> None:
    with ScriptedServer() as server:
        backend = OpenAIBackend("scripted", base_url=server.url)

        async def ask() -> None:
            await backend.answer(request_)
            await backend.aclose()

        asyncio.run(ask())
        (sent,) = server.bodies
    text = input_line(request_, Dialect())
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    line = json.loads(text)
    assert line["body"] == sent
    assert (line["custom_id"], line["method"]) == (request_.id, "POST")
    assert line["url"] == (CHAT_ENDPOINT if request_.is_chat else COMPLETION_ENDPOINT)


def test_the_dialect_shapes_the_body() -> None:
    body = json.loads(input_line(chat_request(), Dialect(limit="max_completion_tokens")))["body"]
    assert body["max_completion_tokens"] == chat_request().max_tokens
    assert "max_tokens" not in body


def test_an_answer_is_read_with_its_tokens() -> None:
    line = read(reply(200, completion()))
    assert line == Line("a", Answer("hello", "stop", 7, 5, "m-1"))


@pytest.mark.parametrize(
    ("body", "text", "reason"),
    [
        (completion("half a", "length"), "half a", "length"),
        (completion("", "content_filter"), "", "content_filter"),
        (completion(None, refusal="I will not"), "I will not", "stop"),
    ],
)
def test_answers_that_are_of_no_use_are_answers_all_the_same(
    body: Any, text: str, reason: str
) -> None:
    result = read(reply(200, body)).result
    assert isinstance(result, Answer)
    assert (result.text, result.finish_reason) == (text, reason)


def test_a_content_filter_that_refuses_the_prompt_is_an_answer() -> None:
    result = read(reply(400, {"error": {"code": "content_filter", "message": "no"}})).result
    assert result == Answer("", "content_filter", 0, 0, "m")


@pytest.mark.parametrize(
    ("line", "kind", "reason", "may_cost"),
    [
        (reply(429, {"error": {"message": "slow"}}), "transient", "rate_limit", False),
        (reply(429, {"error": {"code": "insufficient_quota"}}), "quota", "quota", False),
        (reply(500, {"error": {"message": "boom"}}), "transient", "server_error", False),
        (reply(401, {"error": {"message": "key"}}), "key", "unauthorized", False),
        (reply(404, {"error": {"message": "no model"}}), "refused", "refused", False),
        (reply(400, {"error": {"param": "seed"}}), "refused", "refused", False),
        (reply(200, "<html>"), "transient", "not_an_answer", True),
        (reply(200, {"error": {"message": "busy"}}), "transient", "server_error", False),
        (
            {"custom_id": "a", "error": {"code": "batch_expired"}},
            "unserved",
            "batch_expired",
            False,
        ),
        (
            {"custom_id": "a", "response": None, "error": {"code": "batch_cancelled"}},
            *("unserved", "batch_cancelled", False),
        ),
        (
            {"custom_id": "a", "error": {"code": "request_timeout"}},
            "transient",
            "request_timeout",
            False,
        ),
        ({"custom_id": "a"}, "transient", "damaged_line", True),
        (reply("what", {}), "transient", "damaged_line", True),  # type: ignore[arg-type]
        (b'{"custom_id": "a", "resp', "transient", "damaged_line", True),
        (b"[1, 2]", "transient", "damaged_line", True),
    ],
)
def test_why_there_is_no_answer(line: Any, kind: str, reason: str, may_cost: bool) -> None:
    failure = failed(line)
    assert (failure.kind, failure.reason, failure.may_cost) == (kind, reason, may_cost)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_line(text: bytes) -> None:
    assert isinstance(read_line(text, chat=True, model="m"), Line)


@given(_JSON, _JSON, _JSON, st.booleans())
def test_any_response_is_an_answer_or_a_failure(
    status: Any, body: Any, error: Any, chat: bool
) -> None:
    line = {
        "custom_id": "a",
        "response": {"status_code": status, "body": body},
        "error": error,
    }
    read_as = read_line(json.dumps(line).encode(), chat=chat, model="m")
    assert read_as.request_id == "a"
    assert isinstance(read_as.result, Answer | Failure)


@given(st.sampled_from([200, 400, 429, 500]), _JSON)
def test_any_choice_is_an_answer_or_a_failure(status: int, content: Any) -> None:
    line = reply(status, {"choices": [{"message": {"content": content}}], "error": content})
    assert isinstance(read(line).result, Answer | Failure)
