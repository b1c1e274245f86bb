from __future__ import annotations

import os
from pathlib import Path

import pytest

from cache_store.errors import DataError
from cache_store.writer import open_writer
from pipeline.generate import Limits, generate
from pipeline.ledger import FILE_NAME, open_ledger
from pipeline.llm.amount import Amount
from pipeline.llm.batch.book import RETRY, Book
from pipeline.llm.batch.rounds import Member
from pipeline.llm.prices import Price
from pipeline.llm.scripted import ScriptedBackend
from pipeline.standing import plan_key
from pipeline.status import PlanStatus, status
from tests.pipeline.llm.batch.test_source import run as run_in_batches
from tests.pipeline.llm.batch.test_source import serving
from tests.pipeline.llm.requests import small_plan
from tests.pipeline.test_generate import captions
from tests.pipeline.test_ledger import answer, keep, write_format_1
from tests.pipeline.test_retry import PLAN, again, impatient, some_fail, start

CONCURRENCY = Limits().concurrency


def only(cache: Path) -> PlanStatus:
    (plan,) = status(cache).plans
    return plan


def test_it_says_what_was_paid_what_failed_and_where_the_plan_stands(tmp_path: Path) -> None:
    price, backend = Price(1.0, 2.0), ScriptedBackend(some_fail, patience=0.0)
    report = generate(tmp_path, PLAN, backend, 40, limits=Limits(price=price), retrier=impatient())
    traffic, plan = report.progress.traffic, only(tmp_path)
    assert (plan.plan, plan.model, plan.seed) == (plan_key(PLAN), "scripted", 0)
    assert (plan.captions, plan.wanted, plan.pending) == (40, 40, 0)
    # What arrives as a run ends is kept in the ledger, and may miss the run's own counts.
    late = plan.paid - traffic.asked
    assert 0 <= late <= CONCURRENCY
    assert plan.failed == {"no_answer: server_error": 2, "no_answer: timeout": 2}
    assert plan.unusable == {"refusal": 1, "garbage": 1, "cut": 1}
    assert 0 <= plan.attempts_failed - traffic.retries <= CONCURRENCY
    assert plan.prompt_tokens - traffic.prompt_tokens >= late
    assert plan.completion_tokens - traffic.completion_tokens >= late
    if not late and plan.attempts_failed == traffic.retries:
        assert (plan.prompt_tokens, plan.completion_tokens) == (
            traffic.prompt_tokens,
            traffic.completion_tokens,
        )
        assert plan.usd == pytest.approx(traffic.usd, abs=1e-6)
    assert plan.usd >= price.cost(plan.prompt_tokens, plan.completion_tokens) - 1e-9
    assert plan.next_request >= 10
    assert (plan.in_flight, plan.lost, plan.replayed) == (0, 0, 0)


def test_after_a_retry_what_was_asked_for_is_still_known(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    report = again(tmp_path, refused=True)[0]
    plan = only(tmp_path)
    assert (plan.failed, plan.unusable) == ({}, {})
    assert (plan.captions, plan.wanted) == (report.plan_total, 40)
    assert plan.captions == len(captions(tmp_path))


def test_it_touches_nothing(tmp_path: Path) -> None:
    start(tmp_path, some_fail)

    def everything() -> dict[str, tuple[int, bytes]]:
        found = (path for path in tmp_path.rglob("*") if path.is_file())
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}

    before = everything()
    status(tmp_path)
    assert everything() == before


def test_it_works_while_another_process_writes(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    with open_writer(tmp_path), open_ledger(tmp_path, plan_key(PLAN)) as ledger:
        keep(ledger, "new", answer())
        ledger.begin([("in flight", Amount(0.5))])
        found = status(tmp_path)
        assert found.writer.startswith(f"process {os.getpid()} on ")
        assert found.plans[0].in_flight == 1
        paid = found.plans[0].paid
    found = status(tmp_path)
    assert (found.writer, found.plans[0].paid) == ("", paid)
    assert (found.plans[0].in_flight, found.plans[0].lost) == (0, 1), "nobody waits for it now"


def test_two_plans_are_told_apart(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    other = small_plan(seed=1)
    generate(tmp_path, other, ScriptedBackend(), 10, append=True)
    first, second = status(tmp_path).plans
    assert (first.seed, second.seed) == (0, 1)
    assert sum(first.failed.values()) == 4
    assert (second.failed, second.captions) == ({}, 10)
    assert second.paid >= 2


def test_what_waits_in_batches_is_told_apart_from_what_is_in_flight(tmp_path: Path) -> None:
    with serving(polls=3) as server:
        run_in_batches(server, tmp_path, 20, wait=False, requests=4)
        plan = only(tmp_path)
        assert (plan.plan, plan.model) == (plan_key(PLAN), "scripted"), "nothing is published yet"
        assert (plan.seed, plan.wanted, plan.pending, plan.paid) == (None, None, None, 0)
        assert (plan.in_batches, plan.batches) == (server.batches.sizes[0], 1) == (4, 1)
        assert (plan.in_flight, plan.lost) == (0, 0)
        for _ in range(3):
            run_in_batches(server, tmp_path, 60, wait=False, requests=4)
        plan = only(tmp_path)
        open_sizes = server.batches.sizes[1:]
        assert (plan.in_batches, plan.batches) == (sum(open_sizes), len(open_sizes))
        assert plan.batches > 1, "the first batch was collected, and several follow"
        assert (plan.paid, plan.wanted, plan.pending) == (4, 60, 60 - plan.captions)
        run_in_batches(server, tmp_path, 60)
    plan = only(tmp_path)
    assert (plan.in_batches, plan.batches, plan.pending) == (0, 0, 0)
    assert plan.paid == server.calls.total()


def test_a_batch_that_may_not_have_got_there_and_one_of_a_retry_count(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    with open_ledger(tmp_path, plan_key(PLAN)) as ledger:
        book = Book(ledger)
        fields = {"address": "http://s/v1", "model": "m", "chat": True}
        members = [Member("a" * 32, 0), Member("b" * 32, 1)]
        book.plan(plan=plan_key(PLAN), name="r", members=members, **fields)
        again_asked = book.plan(plan=plan_key(PLAN) + RETRY, name="s", members=members, **fields)
        assert (only(tmp_path).in_batches, only(tmp_path).batches) == (4, 2)
        book.collected(book.submitted(again_asked, "batch_1", "file-1"), ["file-1"])
        assert (only(tmp_path).in_batches, only(tmp_path).batches) == (2, 1)


def test_without_a_ledger_it_says_what_the_manifest_knows(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    (tmp_path / FILE_NAME).unlink()
    found = status(tmp_path)
    assert not found.ledger
    assert (found.plans[0].captions, found.plans[0].paid) == (40, 0)


def test_before_anything_is_published_it_says_what_was_paid(tmp_path: Path) -> None:
    with open_writer(tmp_path), open_ledger(tmp_path, "0123456789abcdef") as ledger:
        keep(ledger, "a", answer())
        ledger.give_up([("b", "timeout")])
    plan = only(tmp_path)
    assert (plan.plan, plan.seed, plan.paid) == ("0123456789abcdef", None, 1)
    assert plan.failed_ahead == 1


def test_a_ledger_of_format_1_is_read_as_it_is(tmp_path: Path) -> None:
    path = write_format_1(tmp_path, {"a": answer(), "b": answer()})
    before = path.read_bytes()
    plan = only(tmp_path)
    assert (plan.plan, plan.paid, plan.attempts_failed, plan.lost) == ("", 2, 1, 1)
    assert plan.usd == 0.5 + 0.5 + 2.0
    assert path.read_bytes() == before


def test_no_cache_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such cache"):
        status(tmp_path / "nowhere")
