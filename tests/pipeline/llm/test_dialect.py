from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.dialect import Dialect, dialects_of
from tests.pipeline.llm.requests import chat_request, completion_request


def test_structured_output_goes_from_a_schema_to_a_tool_to_words() -> None:
    dialect, request = Dialect(), chat_request()
    sent = dialect.parameters(request)
    assert sent["response_format"]["json_schema"]["schema"] == request.schema
    assert dialect.adapt("response_format", "", sent)
    sent = dialect.parameters(request)
    assert sent["tools"][0]["function"]["parameters"] == request.schema
    assert sent["tool_choice"]["function"]["name"] == sent["tools"][0]["function"]["name"]
    assert "response_format" not in sent
    assert dialect.adapt("tool_choice", "", sent)
    assert not {"response_format", "tools", "tool_choice"} & set(dialect.parameters(request))
    assert not dialect.adapt(None, "no", dialect.parameters(request)), "nothing is left to try"


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Unrecognized request argument supplied: seed", "seed"),
        ("`temperature` does not support 0.8 with this model", "temperature"),
    ],
)
def test_a_parameter_is_found_in_words_where_the_server_names_none(message: str, name: str) -> None:
    dialect = Dialect()
    assert dialect.adapt(None, message, dialect.parameters(chat_request()))
    assert dialect.dropped == {name}
    assert dialect.structured == "json_schema"


def test_the_limit_on_tokens_has_a_second_name() -> None:
    dialect, request = Dialect(), chat_request()
    message = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    assert dialect.adapt("max_tokens", message, dialect.parameters(request))
    assert dialect.parameters(request)["max_completion_tokens"] == request.max_tokens
    assert not dialect.adapt("max_completion_tokens", "too large", dialect.parameters(request))


def test_a_refusal_that_names_nothing_is_about_the_form() -> None:
    dialect = Dialect()
    assert dialect.adapt(None, "bad request", dialect.parameters(chat_request()))
    assert dialect.structured == "tool"
    plain = Dialect()
    assert not plain.adapt(None, "bad request", plain.parameters(completion_request()))


def test_what_was_learnt_is_remembered_as_plain_values() -> None:
    dialect, request = Dialect(known=True), chat_request()
    dialect.adapt("response_format", "", dialect.parameters(request))
    dialect.adapt("seed", "", dialect.parameters(request))
    kept = json.loads(json.dumps(dialect.memory()))
    again = Dialect.recalled(kept)
    assert again.parameters(request) == dialect.parameters(request)
    assert again.known, "for another process of this run"
    (later,) = dialects_of([{"model": "m", "dialects": {"url": kept}}], "m").values()
    assert later["not_taken"] == ["seed"]
    assert not Dialect.recalled(later).known, "a later run finds out what is refused by then"


def test_a_later_run_recalls_the_newest_that_was_learnt_of_its_model() -> None:
    steps = [
        {"step": "generate", "model": "m", "dialects": {"a": {"limit": "1"}, "b": {"limit": "2"}}},
        {"step": "generate", "model": "other", "dialects": {"a": {"limit": "3"}}},
        {"step": "embed", "model": "m"},
        {"step": "generate", "model": "m", "dialects": {"a": {"limit": "4"}, "c": "damaged"}},
    ]
    found = dialects_of(steps, "m")
    assert {url: kept["limit"] for url, kept in found.items()} == {"a": "4", "b": "2"}


values = st.none() | st.text() | st.integers() | st.lists(st.text() | st.integers())


@given(st.dictionaries(st.sampled_from(["structured", "not_taken", "limit", "other"]), values))
def test_a_memory_that_is_not_understood_is_a_fresh_start(kept: dict[str, object]) -> None:
    assert Dialect.recalled(kept).parameters(chat_request())["temperature"] is not None


@given(st.lists(st.tuples(st.none() | st.text(), st.text()), max_size=50))
def test_learning_comes_to_an_end(refusals: list[tuple[str | None, str]]) -> None:
    dialect, request = Dialect(), chat_request()
    learnt = sum(
        dialect.adapt(param, message, dialect.parameters(request)) for param, message in refusals
    )
    assert learnt <= 2 + 1 + 4, "two steps down, one renaming, four parameters"
