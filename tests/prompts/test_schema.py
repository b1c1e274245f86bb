from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prompts.request import Request
from prompts.rules import REASONS
from prompts.schema import Accepted, Rejected, parse, response_schema
from tests.prompts.conftest import RequestMaker

MODES = ("json", "lines", "completion")


def answer(*captions: object) -> str:
    return json.dumps({"captions": list(captions)})


def test_good_captions_are_accepted_in_order_with_the_concepts_they_name(
    make_request: RequestMaker,
) -> None:
    request = make_request("dog", "rain")
    assert parse(answer("a dog barks in the rain", "a dog howls"), request) == [
        Accepted("a dog barks in the rain", ("dog", "rain")),
        Accepted("a dog howls", ("dog",)),
    ]


def test_good_and_bad_captions_are_told_apart_within_one_answer(
    make_request: RequestMaker,
) -> None:
    results = parse(
        answer("a dog barks", "", "a dog is a loyal animal", "a cat meows"), make_request("dog")
    )
    assert results == [
        Accepted("a dog barks", ("dog",)),
        Rejected("empty", ""),
        Rejected("not_audible", "a dog is a loyal animal"),
        Rejected("concept_missing", "a cat meows"),
    ]


def test_cut_json_keeps_what_was_whole(make_request: RequestMaker) -> None:
    results = parse(
        '{"captions": ["a dog barks", "a dog ho', make_request("dog"), finish_reason="length"
    )
    assert results == [Accepted("a dog barks", ("dog",)), Rejected("truncated", "a dog ho")]


def test_a_cut_last_line_is_truncated_even_if_it_reads_well(make_request: RequestMaker) -> None:
    request = make_request("dog", mode="completion", count=1)
    assert parse(" a dog barks", request, finish_reason="stop") == [
        Accepted("a dog barks", ("dog",))
    ]
    assert parse(" a dog barks", request, finish_reason="length") == [
        Rejected("truncated", "a dog barks")
    ]


def test_a_completion_is_judged_with_its_beginning(make_request: RequestMaker) -> None:
    request = make_request("dog", mode="completion", count=1, start="a dog")
    assert parse(" barks at a cat", request) == [Accepted("a dog barks at a cat", ("dog",))]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("text", ["", "   \n\n", "```\n```"])
def test_nothing_is_one_rejection(make_request: RequestMaker, mode: str, text: str) -> None:
    (result,) = parse(text, make_request("dog", mode=mode))
    assert isinstance(result, Rejected)
    assert result.reason in ("empty", "markup")


def test_a_refusal_in_place_of_json_is_a_refusal(make_request: RequestMaker) -> None:
    text = "I'm sorry, but as an AI language model I can't listen to audio."
    assert parse(text, make_request("dog")) == [Rejected("refusal", text)]


def test_bytes_are_read_as_utf8_and_wrong_ones_are_refused(make_request: RequestMaker) -> None:
    request = make_request("café")
    good = '{"captions": ["a noisy café with voices"]}'.encode()
    assert parse(good, request) == [Accepted("a noisy café with voices", ("café",))]
    (bad,) = parse(b'{"captions": ["a caf\xe9 with voices"]}', request)
    assert isinstance(bad, Rejected)


@given(data=st.binary() | st.text(), mode=st.sampled_from(MODES), cut=st.booleans())
def test_whatever_comes_is_captions_or_reasons(
    make_request: RequestMaker, data: bytes | str, mode: str, cut: bool
) -> None:
    request = make_request("dog", mode=mode, start="a dog" if mode == "completion" else "")
    check(parse(data, request, finish_reason="length" if cut else None), request)


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON_VALUE, cut=st.integers(0, 200))
def test_whatever_json_comes_whole_or_cut_is_captions_or_reasons(
    make_request: RequestMaker, value: object, cut: int
) -> None:
    text = json.dumps({"captions": value})
    for shown in (text, text[:cut], json.dumps(value), f"```json\n{text}\n```"):
        check(parse(shown, make_request("dog")), make_request("dog"))


def check(results: list[Accepted | Rejected], request: Request) -> None:
    assert results
    for result in results:
        result.text.encode("utf-8")
        assert len(result.text.splitlines()) <= 1
        if isinstance(result, Accepted):
            assert result.concepts and set(result.concepts) <= set(request.concepts)
        else:
            assert result.reason in REASONS


class Captions(BaseModel):
    """The answer that is asked for, as pydantic has it: an oracle for the schema."""

    model_config = ConfigDict(extra="forbid", strict=True)

    captions: list[str] = Field(
        description="The captions, one string each", min_length=1, max_length=5
    )


def test_the_schema_is_the_one_that_pydantic_makes() -> None:
    expected = Captions.model_json_schema()
    expected.pop("title")
    expected.pop("description")
    expected["properties"]["captions"].pop("title")
    assert response_schema(5) == expected
    assert response_schema(2)["properties"]["captions"]["maxItems"] == 2
    assert Captions.model_validate_json(answer("a dog barks")).captions == ["a dog barks"]
    for wrong in ('{"captions": []}', '{"captions": [1]}', '{"captions": ["x"], "y": 1}', "[]"):
        with pytest.raises(ValidationError):
            Captions.model_validate_json(wrong)
