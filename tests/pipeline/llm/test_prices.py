from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cache_store.errors import ConfigError, UsageError
from pipeline.llm.amount import Amount
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
    budget = Budget(Price(1.0, 1.0), max_usd=1.0)
    budget.hold(Amount(3.0))
    assert not budget.reserve(Amount(0.1))
    budget.settle(Amount(3.0), Amount(0.5))
    assert budget.reserve(Amount(0.5))


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
    budget = Budget(Price(1.0, 1.0), max_usd=1.0, spent=Amount(0.3))
    assert budget.reserve(Amount(0.4))
    assert not budget.reserve(Amount(0.4)), "0.3 + 0.4 + 0.4 is too much"
    budget.settle(Amount(0.4), Amount(0.1))
    assert budget.reserve(Amount(0.4))
    assert budget.spent.usd == pytest.approx(0.4)


def test_the_limit_that_would_be_passed_first_refuses_and_is_named() -> None:
    budget = Budget(Price(1.0, 1.0), max_usd=1.0, max_tokens=100, spent=Amount(0.0, 40))
    assert budget.reserve(Amount(0.5, 30))
    assert budget.bound == ""
    assert not budget.reserve(Amount(0.1, 31)), "40 + 30 + 31 tokens are too many"
    assert budget.bound == "--max-tokens"
    assert not budget.reserve(Amount(0.6, 1)), "and 0.5 + 0.6 USD too much"
    assert budget.bound == "--max-usd"
    budget.settle(Amount(0.5, 30), Amount(0.2, 5))
    assert budget.reserve(Amount(0.8, 55))
    assert budget.spent == Amount(0.2, 45)


def test_tokens_are_counted_without_a_price() -> None:
    request = chat_request()
    most = Budget().worst_case(request)
    assert most == Amount(0.0, prompt_tokens_at_most(request) + request.max_tokens)


def test_each_continuation_of_a_prompt_may_read_it_anew() -> None:
    one = completion_request()
    several = replace(one, count=4)
    read = prompt_tokens_at_most(one)
    tokens = Budget().worst_case(several).tokens - Budget().worst_case(one).tokens
    assert tokens == (4 - one.count) * read


def test_shares_of_an_amount_are_never_too_small_together() -> None:
    assert Amount(3.0, 10).share(3) == Amount(1.0, 4)


def test_without_a_price_nothing_is_counted_and_without_a_limit_all_is_allowed() -> None:
    assert Budget().worst_case(chat_request()).usd == 0.0
    assert Budget().cost(10, 10) is None
    assert Budget(Price(1e6, 1e6)).reserve(Amount(1e9, 10**12))
