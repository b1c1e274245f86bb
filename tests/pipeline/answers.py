"""Hypothesis strategies for whatever a language model may answer."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from prompts import grammar
from tests.pipeline.llm.requests import chat_request

# Half a surrogate pair, controls, marks without a letter, right-to-left, no width, beyond 16 bits.
_ODD = "\ud800\udfff\x00\x07\x1b\u0301\u200b\u202e\ufeff\U0001f415\x85\u2028\n\r\t\"'`\\{}[]:,"
_ANY = st.characters(exclude_categories=()) | st.sampled_from(_ODD)
_GOOD = [grammar.answer(chat_request(index)) for index in range(4)]
_KEYS = st.sampled_from(["captions", "caption", "text", "items", ""]) | st.text(_ANY, max_size=5)

TEXT = st.text(_ANY, max_size=80)
LEAF = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.integers(-(10**30), 10**30)
    | TEXT
    | st.sampled_from([text for answer in _GOOD for text in json.loads(answer)["captions"]])
)
JSON = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_KEYS, inner, max_size=4)
)


@st.composite
def _spoilt(draw: st.DrawFn) -> str:
    """A good answer with something odd put into it, perhaps cut."""
    text = draw(st.sampled_from(_GOOD))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(TEXT) + text[place:]
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


ANSWERS = (
    st.binary(max_size=200).map(lambda data: data.decode("utf-8", "replace"))
    | TEXT
    | JSON.map(json.dumps)
    | JSON.map(lambda value: json.dumps(value, ensure_ascii=False))
    | st.lists(LEAF, max_size=6).map(lambda items: json.dumps({"captions": items}))
    | _spoilt()
)
REASONS = st.sampled_from(["stop", "length", "content_filter", "tool_calls", "", "None"])

# Deep, long or large beyond reason, by what is repeated.
HUGE = {
    name: begin + unit * times
    for name, begin, unit, times in (
        ("brackets", "", "[", 100_000),
        ("objects", "", '{"captions":', 20_000),
        ("nested lists", '{"captions": ', "[", 100_000),
        ("a number", '{"captions": [', "9", 100_000),
        ("an exponent", "[1e", "9", 100_000),
        ("one word", '{"captions": ["', "a", 1_000_000),
        ("a sentence", "", "word ", 200_000),
        ("quotes", '{"captions": ["', '"', 20_000),
        ("backslashes", '{"captions": ["', "\\", 100_001),
        ("half a surrogate", "", "\ud800", 100_000),
        ("half a surrogate in JSON", '{"captions": ["', "\\ud800", 20_000),
        ("lines", "", "- a dog barks\n", 20_000),
        ("fences", "", "```\n", 20_000),
        ("accents", "", "\u0301", 100_000),
    )
}
