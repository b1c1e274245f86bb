from __future__ import annotations

import json

import pytest

from pipeline.failures import fault_of
from pipeline.llm.base import Answer
from pipeline.llm.scripted import GARBAGE, REFUSAL
from prompts import grammar
from prompts.schema import parse
from tests.pipeline.llm.requests import chat_request, completion_request

GOOD = grammar.answer(chat_request())
FIRST = json.loads(GOOD)["captions"][0]


def fault(text: str, finish_reason: str = "stop") -> str:
    request = chat_request()
    pieces = parse(text, request, finish_reason=finish_reason)
    return fault_of(Answer(text, finish_reason, 1, 1, "m"), request, pieces)


@pytest.mark.parametrize(
    ("text", "finish_reason", "wanted"),
    [
        (GOOD, "stop", ""),
        (GOOD, "length", ""),
        (GOOD[:120], "length", "cut"),
        (GOOD, "content_filter", "content_filter"),
        ("", "content_filter", "content_filter"),
        (REFUSAL, "stop", "refusal"),
        (GARBAGE, "stop", "garbage"),
        ("", "stop", "garbage"),
        ("<html><body>Welcome!</body></html>", "stop", "garbage"),
        ("word " * 5_000, "stop", "garbage"),
        (json.dumps({"captions": ["a photo of a dog at sunset"]}), "stop", ""),
        (json.dumps({"captions": ["I can't help with that", FIRST]}), "stop", ""),
    ],
    ids=[
        *("good", "the limit was just enough", "cut", "filtered", "filtered and empty"),
        *("refusal", "garbage", "empty", "a web page", "endless"),
        *("captions that the rules refuse", "one that is no refusal as a whole"),
    ],
)
def test_what_is_wrong_with_an_answer(text: str, finish_reason: str, wanted: str) -> None:
    assert fault(text, finish_reason) == wanted


def test_a_cut_line_of_a_completion() -> None:
    request = completion_request()
    text = " barks in the"
    pieces = parse(text, request, finish_reason="length")
    assert fault_of(Answer(text, "length", 1, 1, "m"), request, pieces) == "cut"
