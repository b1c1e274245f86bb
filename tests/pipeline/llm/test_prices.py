from __future__ import annotations

import json
from pathlib import Path

import pytest

from cache_store.errors import ConfigError, UsageError
from pipeline.llm.prices import Budget, Price, prompt_tokens_at_most, read_price
from tests.pipeline.llm.requests import chat_request, completion_request


def test_prices_are_per_million_tokens() -> None:
    assert Price(0.15, 0.60).cost(2_000_000, 500_000) == pytest.approx(0.30 + 0.30)


def test_a_price_is_read_by_model(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"m": {"input": 1, "output": 2.5}, "other": {}}))
    assert read_price(path, "m") == Price(1.0, 2.5)


def test_batches_have_prices_of_their_own_where_the_file_has_them(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(
        json.dumps(
            {
                "m": {"input": 1, "output": 2.5, "batch_input": 0.5, "batch_output": 1.25},
                "plain": {"input": 1, "output": 2.5},
                "wrong": {"input": 1, "output": 2.5, "batch_input": -1},
            }
        )
    )
    assert read_price(path, "m", batch=True) == Price(0.5, 1.25)
    assert read_price(path, "m") == Price(1.0, 2.5)
    assert read_price(path, "plain", batch=True) == Price(1.0, 2.5)
    assert read_price(path, "wrong") == Price(1.0, 2.5)
    with pytest.raises(ConfigError, match=r"wrong\.batch_input must be"):
        read_price(path, "wrong", batch=True)


def test_what_is_held_counts_though_it_passes_the_limit() -> None:
    budget = Budget(Price(1.0, 1.0), limit=1.0)
    budget.hold(3.0)
    assert not budget.reserve(0.1)
    budget.settle(3.0, 0.5)
    assert budget.reserve(0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "no price for this model"),
        (b'{"other": {"input": 1, "output": 1}}', "found other"),
    ],
)
def test_an_unusable_file_is_a_usage_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_price(path, "m")


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the prices"):
        read_price(tmp_path / "prices.json", "m")


def test_all_faults_of_a_price_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"m": {"input": -1, "output": "cheap"}}')
    with pytest.raises(ConfigError) as caught:
        read_price(path, "m")
    assert caught.value.faults == (
        "m.input must be a number of at least 0, got -1",
        "m.output must be a number of at least 0, got 'cheap'",
    )


def test_the_estimate_is_above_one_token_for_each_word() -> None:
    for request in (chat_request(), completion_request()):
        said = request.prompt or " ".join(message["content"] for message in request.messages)
        assert prompt_tokens_at_most(request) > len(said.split()) * 1.3


def test_a_budget_sets_the_worst_case_aside_and_settles_for_what_it_was() -> None:
    budget = Budget(Price(1.0, 1.0), limit=1.0, spent=0.3)
    assert budget.reserve(0.4)
    assert not budget.reserve(0.4), "0.3 + 0.4 + 0.4 is too much"
    budget.settle(0.4, 0.1)
    assert budget.reserve(0.4)
    assert budget.spent == pytest.approx(0.4)


def test_without_a_price_nothing_is_counted_and_without_a_limit_all_is_allowed() -> None:
    assert Budget().worst_case(chat_request()) == 0.0
    assert Budget().cost(10, 10) is None
    assert Budget(Price(1e6, 1e6)).reserve(1e9)
