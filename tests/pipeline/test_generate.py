from __future__ import annotations

import asyncio
import errno
import json
import random
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import (
    AuthenticationError,
    ChangedPlanError,
    DamagedError,
    DataError,
    LeaseHeldError,
    RemoteError,
    StorageError,
    UsageError,
)
from cache_store.manifest import Manifest, newest_manifest
from cache_store.shards import read_table
from cache_store.text import caption_id, normalise_caption
from cache_store.writer import open_writer
from pipeline.generate import Limits, Report, generate
from pipeline.ledger import open_ledger
from pipeline.llm.base import Answer, Backend
from pipeline.llm.grammar import GrammarBackend
from pipeline.llm.prices import Price
from pipeline.llm.retry import Retrier, RetryPolicy
from pipeline.llm.scripted import Call, Script, ScriptedBackend
from pipeline.panel import Progress
from pipeline.run import FIRST_LOOK
from prompts.plan import Plan, Sampling
from prompts.request import Request
from prompts.words import third_person
from tests.pipeline.llm.requests import small_plan

PLAN = small_plan()


class Shuffled(ScriptedBackend):
    """A scripted model whose answers arrive in random order."""

    def __init__(self, script: Script = ("good",), *, seed: int = 0) -> None:
        super().__init__(script)
        self.rng = random.Random(seed)

    async def answer(self, request: Request) -> Answer:
        await asyncio.sleep(self.rng.uniform(0.0, 0.004))
        return await super().answer(request)


def run(
    cache: Path, n: int, backend: Backend | None = None, *, plan: Plan = PLAN, **options: Any
) -> Report:
    options.setdefault("retrier", Retrier(RetryPolicy(attempts=3, base=0.0)))
    return generate(cache, plan, backend or ScriptedBackend(), n, **options)


def manifest_of(cache: Path) -> Manifest:
    manifest = newest_manifest(cache)
    assert manifest is not None
    return manifest


def rows(cache: Path, kind: str = "captions") -> list[dict[str, Any]]:
    """All rows of a kind, in the order of the manifest."""
    entries = getattr(manifest_of(cache), kind)
    return [row for entry in entries for row in read_table(cache / entry.path).to_pylist()]


def captions(cache: Path) -> list[str]:
    return [row["caption"] for row in rows(cache)]


def test_a_run_ends_with_exactly_n_captions(tmp_path: Path) -> None:
    report = run(tmp_path / "c", 33)
    assert report.outcome == "done"
    assert (report.kept, report.plan_total, report.cache_total) == (33, 33, 33)
    assert len(captions(tmp_path / "c")) == 33


def test_rows_say_where_they_come_from(tmp_path: Path) -> None:
    run(tmp_path, 12)
    requests = {PLAN.request(index).id: PLAN.request(index) for index in range(50)}
    for row in rows(tmp_path):
        assert row["caption"] == normalise_caption(row["caption"])
        assert row["id"] == caption_id(row["caption"])
        assert row["model"] == "scripted"
        assert set(row["concepts"]) <= set(requests[row["request_id"]].concepts)
        assert row["axes"].startswith("{")
    step = manifest_of(tmp_path).provenance[-1]
    assert (step["step"], step["backend"], step["llm"]) == ("generate", "scripted", False)
    assert (step["captions"], step["kept"], step["seed"]) == (12, 12, 0)
    assert step["requests"] >= 3
    assert manifest_of(tmp_path).template_hash == PLAN.template_hash


def test_a_caption_is_kept_with_the_axes_that_it_was_asked_for(tmp_path: Path) -> None:
    plan = small_plan(template="chat.v2")
    run(tmp_path, 30, GrammarBackend(), plan=plan)
    requests = {plan.request(index).id: plan.request(index) for index in range(50)}
    told = 0
    for row in rows(tmp_path):
        request = requests[row["request_id"]]
        axes = json.loads(row["axes"])
        places = [place for place in range(5) if request.axes_of(place) == axes]
        assert places
        if "action" in axes and request.register == "sentence":
            told += 1
            assert third_person(axes["action"]).split(" ")[0] in row["caption"]
    assert told


def test_no_caption_comes_twice(tmp_path: Path) -> None:
    report = run(tmp_path, 40, ScriptedBackend(["good", "duplicates"]))
    kept = captions(tmp_path)
    assert len({text.casefold() for text in kept}) == 40
    assert report.rejected["duplicate"] > 0


def test_results_do_not_depend_on_concurrency_or_on_who_answers_first(tmp_path: Path) -> None:
    def mixed(call: Call) -> str:
        # By request, not by call: what a request gets must not depend on the order either.
        return ("good", "duplicates", "cut", "garbage")[call.request.index % 4]

    wanted: list[dict[str, Any]] | None = None
    for number, concurrency in enumerate((1, 2, 7, 32)):
        cache = tmp_path / f"{number}"
        run(cache, 50, Shuffled(mixed, seed=number), limits=Limits(concurrency))
        everything = rows(cache) + rows(cache, "rejects")
        wanted = wanted or everything
        assert everything == wanted
    first, *others = [manifest_of(tmp_path / f"{number}") for number in range(4)]
    assert all(other.captions == first.captions for other in others), "the same bytes"


def test_the_same_command_again_has_nothing_to_do(tmp_path: Path) -> None:
    run(tmp_path, 20)
    before = manifest_of(tmp_path)
    backend = ScriptedBackend()
    report = run(tmp_path, 20, backend)
    assert report.outcome == "already there"
    assert (report.kept, report.plan_total) == (0, 20)
    assert not backend.actor.calls
    assert manifest_of(tmp_path) == before


@pytest.mark.parametrize("steps", [(10, 25, 60), (1, 2, 3, 60), (59, 60)])
def test_growing_gives_the_same_rows_and_asks_for_nothing_again(
    tmp_path: Path, steps: tuple[int, ...]
) -> None:
    at_once, backend = tmp_path / "once", ScriptedBackend()
    run(at_once, 60)
    for n in steps:
        report = run(tmp_path / "grown", n, _Same(backend))
        assert report.plan_total == n
    # Small shards or one: what counts is the rows.
    assert rows(tmp_path / "grown") == rows(at_once)
    assert set(backend.actor.calls.values()) == {1}


def test_growing_after_failures_pays_for_nothing_again(tmp_path: Path) -> None:
    def some_fail(call: Call) -> str:
        return "server_error" if call.request.index % 5 == 1 else "good"

    class Paid(ScriptedBackend):
        offline = False  # so that what is in flight at the end of a run is kept

    at_once, backend = tmp_path / "once", Paid(some_fail)
    run(at_once, 120, backend)
    grown = Paid(some_fail)
    for n in (30, 60, 120):
        run(tmp_path / "grown", n, grown)
        grown = _Counting(grown)
    assert rows(tmp_path / "grown") == rows(at_once)
    assert rows(tmp_path / "grown", "rejects") == rows(at_once, "rejects")
    spent = {
        id_: 3 if some_fail(Call(0, 0, request)) != "good" else 1
        for id_, request in requests_by_id(200).items()
    }
    assert all(count <= spent[one] for one, count in grown.actor.calls.items()), (
        "an answer is asked for once, a failure by its three attempts"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "another"},
        {"sampling": Sampling(temperature=0.1)},
        {"sampling": Sampling(top_p=0.5)},
        {"sampling": Sampling(max_tokens=50)},
    ],
    ids=["model", "temperature", "top_p", "max_tokens"],
)
def test_a_changed_setting_is_asked_anew(tmp_path: Path, changes: dict[str, Any]) -> None:
    run(tmp_path, 20)
    before, backend = ScriptedBackend(), ScriptedBackend()
    other = replace(PLAN, **changes)
    report = run(tmp_path, 20, backend, plan=other, append=True)
    assert report.progress.traffic.replayed == 0
    assert not {PLAN.request(index).id for index in range(50)} & set(backend.actor.calls)
    assert not run(tmp_path, 20, before).kept


def requests_by_id(count: int) -> dict[str, Request]:
    return {PLAN.request(index).id: PLAN.request(index) for index in range(count)}


class _Counting(ScriptedBackend):
    """A paid backend that counts on from an earlier one."""

    offline = False

    def __init__(self, other: ScriptedBackend) -> None:
        super().__init__()
        self.actor = other.actor


class _Same(ScriptedBackend):
    """The backend of an earlier run: it counts on."""

    def __init__(self, other: ScriptedBackend) -> None:
        super().__init__()
        self.actor = other.actor


def test_many_shards_hold_the_same_rows_as_one(tmp_path: Path) -> None:
    run(tmp_path / "one", 50)
    run(tmp_path / "many", 50, limits=Limits(shard_rows=8))
    assert rows(tmp_path / "many") == rows(tmp_path / "one")
    manifest = manifest_of(tmp_path / "many")
    assert len(manifest.captions) > 5
    assert all(entry.rows <= 8 for entry in manifest.captions)
    assert len(manifest.provenance) == 1, "one step a run"


def test_captions_that_the_cache_had_are_duplicates(tmp_path: Path) -> None:
    import pyarrow as pa

    run(tmp_path / "plain", 10)
    known = captions(tmp_path / "plain")[3]
    with open_writer(tmp_path / "c") as writer:
        table = pa.table({"id": [caption_id(known)], "caption": [known]})
        writer.publish(captions=[writer.write_captions(table)], step={"step": "import"})
    report = run(tmp_path / "c", 10)
    assert captions(tmp_path / "c").count(known) == 1
    assert (report.plan_total, report.cache_total) == (10, 11), "the imported one is not counted"


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    run(tmp_path, 10)
    with pytest.raises(ChangedPlanError, match=r"expected seed 0.*found seed 1.*--append"):
        run(tmp_path, 10, plan=small_plan(seed=1))
    assert len(captions(tmp_path)) == 10


def test_plans_can_follow_one_another_and_each_goes_on_by_itself(tmp_path: Path) -> None:
    other = small_plan(seed=1)
    run(tmp_path, 10)
    report = run(tmp_path, 8, plan=other, append=True)
    assert (report.plan_total, report.cache_total) == (8, 18)
    assert run(tmp_path, 15).cache_total == 23, "the first plan, without asking again for leave"
    assert run(tmp_path, 9, plan=other).cache_total == 24
    kept = captions(tmp_path)
    assert len(set(kept)) == 24


def test_an_answer_that_is_no_json_is_refused_and_kept_to_look_at(tmp_path: Path) -> None:
    run(tmp_path, 10, ScriptedBackend(["good", "garbage", "refusal"]))
    answers = [row["answer"] for row in rows(tmp_path, "rejects") if row["answer"]]
    assert any("%PDF" in answer for answer in answers)
    assert any("sorry" in answer for answer in answers)


def test_a_model_that_gives_nothing_usable_ends_the_run(tmp_path: Path) -> None:
    backend = ScriptedBackend(["garbage"])
    with pytest.raises(DataError, match="too few answers can be used") as caught:
        run(tmp_path, 10, backend)
    assert "\n" not in caught.value.message
    assert len(backend.actor.calls) < FIRST_LOOK + 64
    assert len(rows(tmp_path, "rejects")) >= FIRST_LOOK


def test_a_plan_that_is_used_up_keeps_what_it_gave(tmp_path: Path) -> None:
    def dries_up(call: Call) -> str:
        return "good" if call.request.index < 5 else "duplicates"

    with pytest.raises(DataError, match=r"duplicate.*captions are kept"):
        run(tmp_path, 1_000, ScriptedBackend(dries_up))
    assert len(captions(tmp_path)) > 10


def test_a_budget_stops_in_time_and_what_was_kept_is_there(tmp_path: Path) -> None:
    price = Price(input=10.0, output=10.0)
    report = run(tmp_path, 1_000, limits=Limits(price=price, max_usd=0.1))
    assert report.outcome == "budget spent"
    assert 0 < report.kept == len(captions(tmp_path))
    assert 0.05 < report.progress.traffic.usd <= 0.1
    # The budget is the cache's: a second run has no other one.
    again = ScriptedBackend()
    assert run(tmp_path, 1_000, again, limits=Limits(price=price, max_usd=0.1)).kept == 0
    assert not again.actor.calls
    more = run(tmp_path, 1_000, limits=Limits(price=price, max_usd=0.2))
    assert more.kept > 0


def spent_tokens(cache: Path) -> int:
    with open_ledger(cache) as ledger:
        return ledger.totals().spent.tokens


def test_a_limit_of_tokens_holds_over_all_runs_without_prices(tmp_path: Path) -> None:
    most = 20_000
    report = run(tmp_path, 1_000, limits=Limits(max_tokens=most))
    assert (report.outcome, report.bound) == ("budget spent", "--max-tokens")
    assert 0 < report.kept == len(captions(tmp_path))
    assert most / 2 < spent_tokens(tmp_path) <= most
    again = ScriptedBackend()
    assert run(tmp_path, 1_000, again, limits=Limits(max_tokens=most)).kept == 0
    assert not again.actor.calls
    assert run(tmp_path, 1_000, limits=Limits(max_tokens=2 * most)).kept > 0
    assert most < spent_tokens(tmp_path) <= 2 * most


@pytest.mark.parametrize(
    ("max_usd", "max_tokens", "bound"),
    [(0.1, 10**9, "--max-usd"), (1e6, 10_000, "--max-tokens")],
)
def test_of_two_limits_the_nearer_ends_it(
    tmp_path: Path, max_usd: float, max_tokens: int, bound: str
) -> None:
    limits = Limits(price=Price(10.0, 10.0), max_usd=max_usd, max_tokens=max_tokens)
    report = run(tmp_path, 1_000, limits=limits)
    assert (report.outcome, report.bound) == ("budget spent", bound)
    assert report.progress.traffic.usd <= max_usd
    assert 0 < spent_tokens(tmp_path) <= max_tokens


def test_a_budget_without_prices_is_refused() -> None:
    with pytest.raises(UsageError, match="--prices"):
        Limits(max_usd=1.0)


def test_an_error_keeps_what_came_before_it(tmp_path: Path) -> None:
    def tenth_is_refused(call: Call) -> str:
        return "unauthorized" if call.request.index == 10 else "good"

    with pytest.raises(AuthenticationError):
        run(tmp_path, 100, ScriptedBackend(tenth_is_refused))
    kept = captions(tmp_path)
    assert kept
    run(tmp_path / "whole", 100)
    assert captions(tmp_path / "whole")[: len(kept)] == kept
    run(tmp_path, 100)
    assert rows(tmp_path) == rows(tmp_path / "whole")


def test_a_server_that_dies_ends_the_run_and_the_next_goes_on(tmp_path: Path) -> None:
    def dies(call: Call) -> str:
        return "good" if call.request.index < 6 else "server_error"

    # Those that fail in one moment are counted together.
    with pytest.raises(RemoteError, match=r"(1[6-9]|2\d) requests in a row got no answer"):
        run(tmp_path / "c", 100, ScriptedBackend(dies))
    assert 10 < len(captions(tmp_path / "c")) < 100
    run(tmp_path / "c", 100)
    run(tmp_path / "whole", 100)
    assert rows(tmp_path / "c") == rows(tmp_path / "whole"), "none of the plan was burnt"


def test_failures_that_pass_change_nothing(tmp_path: Path) -> None:
    def twice(call: Call) -> str:
        return ("rate_limit", "server_error", "good")[min(call.attempt, 2)]

    report = run(tmp_path / "bumpy", 20, ScriptedBackend(twice))
    run(tmp_path / "smooth", 20)
    assert rows(tmp_path / "bumpy") == rows(tmp_path / "smooth")
    assert report.progress.traffic.retries >= 2 * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_next_run_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    backend, sent = ScriptedBackend(seconds=0.005), False
    backend.offline = False  # so that a stop waits for what is in flight
    handler = signal.getsignal(number)
    progress = Progress()

    def after_ten() -> None:
        nonlocal sent
        if progress.kept >= 10 and not sent:
            sent = True
            signal.raise_signal(number)

    report = run(tmp_path / "c", 300, backend, progress=progress, changed=after_ten)
    assert report.outcome == "stopped"
    assert progress.stopping
    assert 10 <= report.plan_total < 300
    assert len(captions(tmp_path / "c")) == report.plan_total, "published"
    assert signal.getsignal(number) is handler
    run(tmp_path / "c", 100, _Same(backend))
    run(tmp_path / "whole", 100)
    assert rows(tmp_path / "c") == rows(tmp_path / "whole")
    assert set(backend.actor.calls.values()) == {1}


def test_a_second_signal_stops_at_once_and_answers_stay(tmp_path: Path) -> None:
    def later_ones_hang(call: Call) -> str:
        return "good" if call.request.index < 6 else "hang"

    class Paid(ScriptedBackend):
        offline = False  # so that a stop waits for what is in flight

    progress, asked = Progress(), 0

    def twice() -> None:
        nonlocal asked
        if progress.kept >= 10 and asked == 0:
            asked = 1
            signal.raise_signal(signal.SIGINT)
            threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()

    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path,
            300,
            Paid(later_ones_hang, patience=60.0),
            progress=progress,
            changed=twice,
        )
    backend = ScriptedBackend()
    run(tmp_path, 40, backend)
    answered = {PLAN.request(index).id for index in range(6)}
    assert not answered & set(backend.actor.calls)


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    with (
        open_writer(tmp_path),
        pytest.raises(LeaseHeldError, match="another process writes"),
    ):
        run(tmp_path, 5)


def test_a_damaged_ledger_is_told_and_the_captions_stay(tmp_path: Path) -> None:
    run(tmp_path, 10)
    for path in tmp_path.glob("ledger.sqlite*"):
        path.write_bytes(b"x" * 4096)
    with pytest.raises(DamagedError, match="ledger is damaged"):
        run(tmp_path, 20)
    assert len(captions(tmp_path)) == 10


def test_a_full_disk_is_told_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    backend = ScriptedBackend()
    with monkeypatch.context() as patch:
        patch.setattr("cache_store.commits.write_table", full)
        with pytest.raises(StorageError, match="the disk is full"):
            run(tmp_path, 20, backend)
    assert newest_manifest(tmp_path) is None
    run(tmp_path, 20, _Same(backend))
    assert set(backend.actor.calls.values()) == {1}, "the ledger had all answers"
    assert len(captions(tmp_path)) == 20


def test_the_grammar_says_that_no_model_was_involved(tmp_path: Path) -> None:
    plan = Plan(bank=PLAN.bank, model="grammar")
    report = run(tmp_path, 60, GrammarBackend(), plan=plan)
    assert report.kept == 60
    assert {row["model"] for row in rows(tmp_path)} == {"grammar"}
    assert manifest_of(tmp_path).provenance[-1]["llm"] is False


def test_the_backend_is_closed_however_it_ends(tmp_path: Path) -> None:
    class Closing(ScriptedBackend):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    makes: list[tuple[Closing, Callable[[Closing], object]]] = [
        (Closing(), lambda one: run(tmp_path, 5, one)),
        (Closing(), lambda one: run(tmp_path, 5, one)),
        (Closing(["unauthorized"]), lambda one: run(tmp_path, 500, one)),
    ]
    for backend, call in makes:
        with suppress(AuthenticationError):
            call(backend)
        assert backend.closed == 1
