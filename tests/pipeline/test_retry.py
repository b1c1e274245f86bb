from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import (
    ChangedPlanError,
    DamagedError,
    EmptyInputError,
    RemoteError,
    UsageError,
)
from cache_store.verify import verify_cache
from pipeline.generate import Limits, generate
from pipeline.ledger import FILE_NAME, open_ledger
from pipeline.llm.amount import NOTHING
from pipeline.llm.prices import Price
from pipeline.llm.retry import Retrier, RetryPolicy
from pipeline.llm.scripted import Call, Script, ScriptedBackend
from pipeline.retry import RetryReport, retry
from pipeline.standing import plan_key, standing_of
from prompts.plan import Plan
from tests.pipeline.llm.requests import small_plan
from tests.pipeline.test_generate import captions, manifest_of, rows

PLAN = small_plan()


def impatient() -> Retrier:
    return Retrier(RetryPolicy(attempts=2, base=0.0))


def start(cache: Path, script: Script, n: int = 40, plan: Plan = PLAN) -> ScriptedBackend:
    backend = ScriptedBackend(script, patience=0.0)
    generate(cache, plan, backend, n, retrier=impatient())
    return backend


def again(cache: Path, script: Script = ("good",), **options: Any) -> tuple[RetryReport, set[int]]:
    """Retry; what came of it, and the positions that were asked."""
    backend = ScriptedBackend(script, patience=0.0)
    plan = options.pop("plan", PLAN)
    report = retry(cache, plan, backend, retrier=impatient(), **options)
    place = {plan.request(index).id: index for index in range(60)}
    return report, {place[one] for one in backend.actor.calls}


def some_fail(call: Call) -> str:
    index = call.request.index
    # Not where the plan may have been sent ahead of what was published: that depends on timing.
    if index % 4 == 1 and index < 16:
        return "server_error" if index % 8 == 1 else "hang"
    return {3: "refusal", 6: "garbage", 8: "cut"}.get(index, "good")


FAILED = {1, 5, 9, 13}
UNUSABLE = {3, 6, 8}


def test_failures_are_listed_with_their_reason_and_the_run_still_brings_n(tmp_path: Path) -> None:
    backend = start(tmp_path, some_fail)
    assert len(captions(tmp_path)) == 40
    refused = [row for row in rows(tmp_path, "rejects") if row["reason"].startswith("no_answer")]
    assert [row["reason"] for row in refused[:2]] == [
        "no_answer: server_error",
        "no_answer: timeout",
    ]
    assert refused[0]["request_id"] == PLAN.request(1).id
    assert refused[0]["concepts"] == list(PLAN.request(1).concepts)
    step = manifest_of(tmp_path).provenance[-1]
    assert (
        step["unanswered"]
        == len(refused)
        == step["rejected"]["no_answer: server_error"] + (step["rejected"]["no_answer: timeout"])
    )
    assert max(backend.actor.calls.values()) == 2


def test_only_failures_are_asked_again_and_their_captions_are_added(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    before, refused = rows(tmp_path), rows(tmp_path, "rejects")
    report, asked = again(tmp_path)
    assert asked == FAILED
    assert (report.outcome, report.failures, report.answered) == ("done", 4, 4)
    after = rows(tmp_path)
    assert after[: len(before)] == before, "what was published stays"
    assert rows(tmp_path, "rejects")[: len(refused)] == refused
    added = after[len(before) :]
    assert len(added) == report.kept > 0
    order = [PLAN.request(index).id for index in sorted(FAILED)]
    found = [order.index(row["request_id"]) for row in added]
    assert found == sorted(found), "in plan order"
    assert report.plan_total == len(after)
    assert report.left == {"refusal": 1, "garbage": 1, "cut": 1}
    assert verify_cache(tmp_path).whole


def test_once_more_there_is_nothing_to_do(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    again(tmp_path)
    before = manifest_of(tmp_path)
    report, asked = again(tmp_path)
    assert (report.outcome, asked) == ("nothing to do", set())
    assert manifest_of(tmp_path) == before


def test_refused_cut_and_garbage_answers_are_asked_again_if_told_to(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    report, asked = again(tmp_path, refused=True)
    assert asked == FAILED | UNUSABLE
    assert report.left == {}
    ids = {index: PLAN.request(index).id for index in UNUSABLE}
    with open_ledger(tmp_path) as ledger:
        takes = ledger._connection.execute(
            "SELECT request_id, count(*), sum(text LIKE '%sorry%') FROM answers GROUP BY 1"
        ).fetchall()
    counted = {row[0]: row[1] for row in takes}
    assert {counted[one] for one in ids.values()} == {2}, "the first answer is kept"
    assert sum(row[2] for row in takes) == 1
    assert len({row["caption"] for row in rows(tmp_path)}) == len(rows(tmp_path))
    assert again(tmp_path, refused=True)[0].outcome == "nothing to do"


def test_what_fails_again_stays_and_can_be_asked_once_more(tmp_path: Path) -> None:
    start(tmp_path, some_fail)

    def still(call: Call) -> str:
        return "rate_limit" if call.request.index == 5 else "good"

    report, asked = again(tmp_path, still)
    assert asked == FAILED
    assert report.answered == 3
    assert report.left["no_answer: timeout"] == 1
    report, asked = again(tmp_path)
    assert asked == {5}
    assert report.answered == 1


def test_a_server_that_is_still_dead_is_told_and_changes_nothing(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    before = manifest_of(tmp_path)
    with pytest.raises(RemoteError, match="4 requests in a row got no answer"):
        again(tmp_path, ["server_error"])
    assert manifest_of(tmp_path) == before
    assert again(tmp_path)[1] == FAILED


def test_generate_goes_on_after_a_retry_and_counts_its_captions(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    kept = again(tmp_path)[0].plan_total
    assert kept > 40
    everything = [PLAN.request(index).id for index in range(60)]
    with open_ledger(tmp_path) as ledger:
        answered = set(ledger.get(everything))
    backend = ScriptedBackend()
    report = generate(tmp_path, PLAN, backend, kept + 20)
    assert report.plan_total == kept + 20 == len(captions(tmp_path))
    assert not answered & set(backend.actor.calls)
    assert again(tmp_path)[0].outcome == "nothing to do", "the rounds are remembered"


def test_failures_of_a_plan_that_grew_are_found(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    again(tmp_path)

    def later(call: Call) -> str:
        return "server_error" if call.request.index in (30, 31) else "good"

    start(tmp_path, later, n=manifest_of(tmp_path).provenance[-1]["kept"] + 100)
    assert again(tmp_path)[1] == {30, 31}


def test_an_answer_that_another_plan_paid_for_is_not_paid_again(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    request = PLAN.request(1)
    with open_ledger(tmp_path, "another") as ledger:
        (attempt,) = ledger.begin([(request.id, NOTHING)])
        answer = asyncio.run(ScriptedBackend().answer(request))
        ledger.store([(attempt, request.id, answer, None)])
    report, asked = again(tmp_path)
    assert asked == {5, 9, 13}
    assert report.answered == 4


def test_other_settings_are_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    with pytest.raises(ChangedPlanError, match=r"expected seed 0.*found seed 1.*status"):
        again(tmp_path, plan=small_plan(seed=1))


def test_a_ledger_that_names_other_requests_is_refused(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    with open_ledger(tmp_path) as ledger:
        ledger._connection.execute("UPDATE failed SET position = position + 1 WHERE position = 9")
    with pytest.raises(DamagedError, match="another request than the plan makes"):
        again(tmp_path)


def test_without_a_ledger_there_is_nothing_to_ask(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    (tmp_path / FILE_NAME).unlink()
    with pytest.raises(EmptyInputError, match="no ledger"):
        again(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()


def test_a_budget_holds(tmp_path: Path) -> None:
    start(tmp_path, some_fail)
    price = Price(10.0, 10.0)
    report, asked = again(tmp_path, limits=Limits(price=price, max_usd=1e-6))
    assert (report.outcome, report.answered, asked) == ("budget spent", 0, set())
    assert report.bound == "--max-usd"
    report, asked = again(tmp_path, limits=Limits(max_tokens=1))
    assert (report.outcome, report.bound, asked) == ("budget spent", "--max-tokens", set())
    with pytest.raises(UsageError):
        Limits(max_usd=1.0)


def _retry_and_die(cache: Path, moment: str) -> None:
    import cache_store.writer
    import pipeline.harvest

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "before the files":
        pipeline.harvest.Basket.write = die  # type: ignore[method-assign,assignment]
    else:
        cache_store.writer.link_file = die  # type: ignore[assignment]
    again(cache)


@pytest.mark.parametrize("moment", ["before the files", "before the manifest"])
def test_killed_before_it_published_it_goes_on_and_pays_nothing_twice(
    tmp_path: Path, moment: str
) -> None:
    start(tmp_path / "whole", some_fail)
    again(tmp_path / "whole")
    cache = tmp_path / "killed"
    start(cache, some_fail)
    before = manifest_of(cache)
    process = multiprocessing.get_context("spawn").Process(
        target=_retry_and_die, args=(cache, moment)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert manifest_of(cache) == before
    report, asked = again(cache)
    assert asked == set(), "all answers were in the ledger"
    assert (report.outcome, report.answered) == ("done", 4)
    assert rows(cache) == rows(tmp_path / "whole")
    assert rows(cache, "rejects") == rows(tmp_path / "whole", "rejects")
    assert standing_of(manifest_of(cache), plan_key(PLAN)) == standing_of(
        manifest_of(tmp_path / "whole"), plan_key(PLAN)
    )
