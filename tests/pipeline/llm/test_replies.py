from __future__ import annotations

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.base import Answer
from pipeline.llm.replies import FaultInAnswer, NotAnAnswer, read_answer, read_fault, read_wait


def chat(message: object, finish_reason: object = "stop", **more: object) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return json.dumps({"model": "m-1", "choices": [choice], **more}).encode()


def said(body: bytes) -> Answer:
    return read_answer(body, chat=True, model="asked-for")


def test_a_chat_answer_is_read() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 3}
    assert said(chat({"content": "a dog"}, usage=usage)) == Answer("a dog", "stop", 12, 3, "m-1")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "a "}, {"type": "text", "text": "dog"}]}, "a dog"),
        ({"content": None, "refusal": "I can't"}, "I can't"),
        ({"content": None}, ""),
        (
            {"tool_calls": [{"function": {"arguments": '{"captions": ["x"]}'}}]},
            '{"captions": ["x"]}',
        ),
        ({"tool_calls": [{"function": {"arguments": {"captions": []}}}]}, '{"captions": []}'),
        ({"tool_calls": [], "content": "in words"}, "in words"),
        ({"tool_calls": [None, {"function": 3}], "content": "in words"}, "in words"),
    ],
)
def test_the_text_is_found_where_servers_put_it(message: object, text: str) -> None:
    assert said(chat(message)).text == text


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("tool_calls", "stop"), (None, "stop"), ("length", "length"), ("content_filter",) * 2],
)
def test_a_tool_call_ended_by_itself_and_other_reasons_stay(sent: object, kept: str) -> None:
    assert said(chat({"content": "x"}, sent)).finish_reason == kept


def test_several_continuations_are_lines_of_one_answer() -> None:
    choices = [
        {"text": "a dog\n", "finish_reason": "stop"},
        {"text": "rain", "finish_reason": "stop"},
    ]
    answer = read_answer(json.dumps({"choices": choices}).encode(), chat=False, model="m")
    assert answer == Answer("a dog\nrain", "stop", 0, 0, "m")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": 3}',
        b'{"choices": [3]}',
        b'{"choices": [{"message": "x"}]}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b"\xff",
    ],
)
def test_a_body_that_is_no_answer_is_one_error(body: bytes) -> None:
    with pytest.raises(NotAnAnswer):
        said(body)


@given(st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "tool_calls", "function", "arguments",
                         "error", "usage", "model", "finish_reason", "text", "prompt_tokens"]),
        inner,
    ),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_body_is_an_answer_or_says_why_not(body: bytes) -> None:
    for is_chat in (True, False):
        try:
            answer = read_answer(body, chat=is_chat, model="m")
        except (NotAnAnswer, FaultInAnswer):
            continue
        assert answer.prompt_tokens >= 0
        assert answer.model
    assert isinstance(read_fault(body).message, str)


def test_an_error_that_comes_as_success_is_found() -> None:
    with pytest.raises(FaultInAnswer) as caught:
        said(b'{"error": {"message": "no provider", "code": 502}}')
    assert caught.value.fault.message == "no provider"
    assert caught.value.fault.code == "502"


@pytest.mark.parametrize(
    ("body", "message", "code", "param"),
    [
        (b'{"error": {"message": "m", "code": "c", "param": "seed"}}', "m", "c", "seed"),
        (b'{"object": "error", "message": "m", "code": 400, "param": null}', "m", "400", None),
        (b'{"error": "m"}', "m", "", None),
        (b'{"detail": "m"}', "m", "", None),
        (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]', "", None),
        (b"Bad Gateway", "Bad Gateway", "", None),
    ],
)
def test_faults_are_read_from_every_wrapping(
    body: bytes, message: str, code: str, param: str | None
) -> None:
    fault = read_fault(body)
    assert (fault.message, fault.code, fault.param) == (message, code, param)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7.5"}, 7.5),
        ({"retry-after": "7", "retry-after-ms": "120"}, 0.12),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert read_wait(headers) == seconds


def test_a_date_to_wait_for_is_counted_by_the_clock_of_the_server() -> None:
    now = 1_700_000_000
    headers = {
        "retry-after": formatdate(now + 90, usegmt=True),
        "date": formatdate(now, usegmt=True),
    }
    assert read_wait(headers) == 90.0
    past = {**headers, "retry-after": formatdate(now - 90, usegmt=True)}
    assert read_wait(past) == 0.0
    alone = read_wait({"retry-after": formatdate(usegmt=True, timeval=None)})
    assert alone is not None
    assert 0.0 <= alone <= 2.0, "without a date from the server, ours"
