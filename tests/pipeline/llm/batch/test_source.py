"""Whole runs in batches, against a real HTTP server on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    ConfigError,
    RateLimitError,
    RemoteError,
    UsageError,
)
from cache_store.manifest import newest_manifest
from cache_store.shards import read_table
from pipeline.generate import Limits, Report, generate
from pipeline.ledger import open_ledger
from pipeline.llm.amount import NOTHING
from pipeline.llm.base import Answer
from pipeline.llm.batch.beside import held_by_batches
from pipeline.llm.batch.book import Book
from pipeline.llm.batch.model import BatchModel, BatchOptions
from pipeline.llm.batch.remote import BatchServer
from pipeline.llm.openai_server import OpenAIBackend
from pipeline.llm.prices import Price
from pipeline.llm.retry import RetryPolicy
from pipeline.llm.scripted import Call, Script, text_of
from pipeline.llm.scripted_batches import BatchScript
from pipeline.llm.scripted_server import ScriptedServer
from pipeline.retry import retry
from pipeline.standing import plan_key
from prompts.plan import Plan
from tests.pipeline.llm.requests import small_plan

PLAN = small_plan()


def serving(
    script: Script = ("good",), *, refuses: tuple[str, ...] = (), **how: Any
) -> ScriptedServer:
    return ScriptedServer(script, refuses=refuses, batches=BatchScript(**how))


def run(
    server: ScriptedServer,
    cache: Path,
    n: int,
    *,
    plan: Plan = PLAN,
    said: list[str] | None = None,
    limits: Limits | None = None,
    **how: Any,
) -> Report:
    client = BatchServer(server.url, policy=RetryPolicy(3, base=0.0))
    model = BatchModel(
        "scripted", client, style="chat" if "chat" in plan.template else "completion"
    )
    how.setdefault("poll", 0.01)
    options = BatchOptions(note=(said if said is not None else []).append, **how)
    return generate(cache, plan, model, n, source=model.source(options), limits=limits)


def captions(cache: Path) -> list[str]:
    manifest = newest_manifest(cache)
    assert manifest is not None
    tables = [read_table(cache / entry.path) for entry in manifest.captions]
    return [text for table in tables for text in table.column("caption").to_pylist()]


def asked_at_most_once(server: ScriptedServer) -> bool:
    return set(server.calls.values()) == {1}


def test_a_run_in_batches_keeps_what_a_run_of_single_requests_keeps(tmp_path: Path) -> None:
    with serving(polls=3) as server:
        report = run(server, tmp_path / "batches", 40, requests=4)
        assert report.outcome == "done"
        assert asked_at_most_once(server)
        assert max(server.batches.sizes) == 4
        assert server.batches.sizes[0] == 4
        generate(tmp_path / "single", PLAN, OpenAIBackend("scripted", base_url=server.url), 40)
    assert captions(tmp_path / "batches") == captions(tmp_path / "single")
    manifest = newest_manifest(tmp_path / "batches")
    assert manifest is not None
    step = manifest.provenance[-1]
    assert (step["backend"], step["llm"]) == ("openai-batch", True)
    assert step["requests"] == report.progress.traffic.asked > 0
    assert step["prompt_tokens"] > 0


def test_completion_requests_go_to_the_other_endpoint(tmp_path: Path) -> None:
    with serving() as server:
        run(server, tmp_path, 10, plan=small_plan(template="completion.v1"))
        assert all("prompt" in body for body in server.bodies)


def test_files_are_deleted_when_all_is_in_the_ledger(tmp_path: Path) -> None:
    with serving(["good", "rate_limit"]) as server:
        run(server, tmp_path / "a", 10)
        assert server.batches.files.stored == {}
        run(server, tmp_path / "b", 10, plan=small_plan(1), keep_files=True)
        assert len(server.batches.files.stored) >= 3, "input, answers and errors"


def test_a_file_that_cannot_be_deleted_is_only_noted(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(faults={"delete": ["server_error"] * 3}) as server:
        assert run(server, tmp_path, 5, said=said).outcome == "done"
        assert len(server.batches.files.stored) == 1
    assert "files that could not be deleted: file-0000" in said


def test_the_first_batch_goes_alone_and_several_follow(tmp_path: Path) -> None:
    events: list[str] = []
    with serving(watch=events.append, polls=2) as server:
        run(server, tmp_path, 120, requests=5, batches=3)
    steps = [event.split()[1] for event in events if event.startswith("after")]
    order = "".join({"create": "c", "poll": "p"}.get(step, "") for step in steps)
    assert order.startswith("cppccc"), order


def test_a_batch_that_is_not_full_waits_until_it_is_needed(tmp_path: Path) -> None:
    def poor(call: Call) -> str:
        return "good" if call.number % 2 else "garbage"

    with serving(poor, polls=2) as server:
        run(server, tmp_path, 100, requests=10, batches=4)
        small = [size for size in server.batches.sizes if size < 10]
    assert len(small) <= 3, server.batches.sizes


def test_only_what_failed_is_submitted_again(tmp_path: Path) -> None:
    def flaky(call: Call) -> str:
        return ("rate_limit", "hang", "drop", "not_an_api", "server_error", "good")[
            call.number % 6 if call.attempt == 0 else 5
        ]

    said: list[str] = []
    with serving(flaky) as server:
        report = run(server, tmp_path, 60, said=said, requests=12)
        assert set(server.calls.values()) == {1, 2}
        assert report.outcome == "done"
        assert report.progress.traffic.retries == sum(count - 1 for count in server.calls.values())
    assert any("damaged lines" in line for line in said)


def test_a_request_that_fails_again_and_again_is_given_up_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    def unlucky(call: Call) -> str:
        return "server_error" if call.request.id.endswith(tuple("01234")) else "good"

    with serving(unlucky) as server:
        report = run(server, tmp_path, 100)
        assert report.outcome == "done"
        assert sorted(set(server.calls.values())) == [1, 3], "three attempts, then no more"
        assert report.progress.traffic.failed == sum(count == 3 for count in server.calls.values())


def test_a_request_that_always_fails_does_not_end_a_run_that_needs_no_other(
    tmp_path: Path,
) -> None:
    unlucky = PLAN.request(0).id

    def behave(call: Call) -> str:
        return "server_error" if call.request.id == unlucky else "good"

    # What a run leaves that died when all others were answered.
    with open_ledger(tmp_path, plan_key(PLAN)) as ledger:
        for place in range(1, 20):
            request = PLAN.request(place)
            (mark,) = ledger.begin([(request.id, NOTHING)])
            answer = Answer(text_of("good", request)[0], "stop", 1, 1, "scripted")
            ledger.store([(mark, request.id, answer, None)])
    with serving(behave) as server:
        report = run(server, tmp_path, 30)
        assert (report.outcome, report.unanswered) == ("done", {"no_answer: server_error": 1})
        assert server.calls[unlucky] == 3
        assert server.calls.total() <= 5, "one or two beside it, to be sure of the server"


def test_retry_asks_in_batches_too(tmp_path: Path) -> None:
    well: list[bool] = []

    def unlucky(call: Call) -> str:
        bad = call.request.id.endswith(tuple("01234")) and not well
        return "server_error" if bad else "good"

    with serving(unlucky, polls=2) as server:
        failed = run(server, tmp_path, 60).unanswered
        assert failed.keys() == {"no_answer: server_error"}
        well.append(True)
        before = server.calls.total()
        outcomes = []
        for wait in (False, True):  # submitted by one run, collected by another
            model = BatchModel("scripted", BatchServer(server.url))
            source = model.source(BatchOptions(poll=0.01, wait=wait))
            report = retry(tmp_path, PLAN, model, source=source)
            outcomes.append((report.outcome, report.answered))
        many = failed["no_answer: server_error"]
        assert outcomes == [("waiting", 0), ("done", many)]
        assert server.calls.total() == before + many
        assert server.batches.created[-1]["plan"].endswith(".retry")
        assert server.batches.files.stored == {}


def test_a_server_that_answers_nothing_ends_the_run(tmp_path: Path) -> None:
    with serving(["server_error"]) as server:
        with pytest.raises(RemoteError, match="in 3 batches in a row"):
            run(server, tmp_path, 10)
        assert len(server.batches.created) == 3


@pytest.mark.parametrize("ending", ["expired", "cancelled"])
def test_what_a_batch_has_when_it_ends_early_is_kept(tmp_path: Path, ending: str) -> None:
    with serving(endings=(ending, "completed")) as server:
        if ending == "cancelled":
            with pytest.raises(RemoteError, match="was cancelled, 7 requests"):
                run(server, tmp_path, 50)
        run(server, tmp_path, 50)
        assert asked_at_most_once(server)
        assert server.batches.sizes[0] == 14
        assert server.batches.sizes[1] <= 7


def test_a_batch_that_expires_with_nothing_ends_the_run(tmp_path: Path) -> None:
    with (
        serving(endings=("expired",)) as server,
        pytest.raises(RemoteError, match="ran out of time"),
    ):
        run(server, tmp_path, 2)  # half of one request is none


def test_a_parameter_that_is_refused_is_left_out_of_the_next_batch(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(refuses=("max_tokens", "seed")) as server:
        report = run(server, tmp_path, 20, said=said)
        assert report.outcome == "done"
        assert all("max_completion_tokens" in body for body in server.bodies)
        assert not any("seed" in body for body in server.bodies)
        assert server.batches.sizes[0] == server.batches.sizes[1] == server.batches.sizes[2]
    assert any("does not take max_tokens" in line for line in said)


def test_what_is_refused_for_good_ends_the_run(tmp_path: Path) -> None:
    with serving(refuses=("messages",)) as server:
        with pytest.raises(BadAnswerError, match="messages is not supported"):
            run(server, tmp_path, 10)
        assert len(server.batches.created) == 1


def test_a_key_that_is_refused_within_a_batch_ends_the_run(tmp_path: Path) -> None:
    with serving(["good", "unauthorized"]) as server, pytest.raises(AuthenticationError):
        run(server, tmp_path, 20)
    assert len(captions(tmp_path)) == 5, "what came before it is published"


@pytest.mark.parametrize(
    ("code", "hint"), [("model_not_found", "Check --model"), ("other", "Nothing was charged")]
)
def test_a_batch_refused_as_a_whole_is_told_in_one_line(
    tmp_path: Path, code: str, hint: str
) -> None:
    with serving(endings=(f"failed:{code}", "completed")) as server:
        with pytest.raises(BadAnswerError) as caught:
            run(server, tmp_path, 10)
        assert code in caught.value.message
        assert hint in caught.value.message
        assert "\n" not in caught.value.message
        assert run(server, tmp_path, 10).outcome == "done", "and the next run begins anew"
        assert server.batches.files.stored == {}


def test_without_room_for_its_tokens_batches_become_smaller(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(most_requests=110) as server:
        report = run(server, tmp_path, 700, said=said, requests=200, plan=small_plan())
        assert report.outcome == "done"
        assert server.batches.sizes[:2] == [187, 93]
        assert asked_at_most_once(server)
    assert any("no room for 187 requests" in line for line in said)


def test_without_room_beside_another_batch_it_waits(tmp_path: Path) -> None:
    with serving(most_requests=80, polls=2) as server:
        report = run(server, tmp_path, 700, requests=60, batches=3)
        assert report.outcome == "done"
        assert asked_at_most_once(server)
        assert max(server.batches.sizes) == 60, "none became smaller"


def test_without_any_room_the_run_ends(tmp_path: Path) -> None:
    with serving(most_requests=1) as server, pytest.raises(RateLimitError, match="no room"):
        run(server, tmp_path, 300)


def test_answers_to_what_was_not_asked_are_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    servers: list[ScriptedServer] = []

    def meddle(event: str) -> None:
        files = servers[0].batches.files.stored
        if event == "before content" and len(files) == 2:
            name = max(files)
            first = json.loads(files[name].splitlines()[0])
            first["custom_id"] = "f" * 32
            files[name] += json.dumps(first).encode() + b"\n" + files[name]

    with serving(watch=meddle) as server:
        servers.append(server)
        report = run(server, tmp_path, 10, said=said)
        assert report.progress.traffic.asked == server.calls.total(), "twice said is said once"
    assert said == ["1 answers to what was not asked are left out"]


def test_a_server_that_cannot_be_reached_for_a_while_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(faults={"poll": ["lost"] * 7}) as server:
        assert run(server, tmp_path, 5, said=said).outcome == "done"
    assert len([line for line in said if "waiting for it to come back" in line]) == 1


def test_without_waiting_each_run_goes_one_step(tmp_path: Path) -> None:
    with serving(polls=2) as server:
        outcomes = [run(server, tmp_path, 20, wait=False).outcome for _ in range(3)]
        assert outcomes[:2] == ["waiting", "waiting"]
        while outcomes[-1] == "waiting":
            outcomes.append(run(server, tmp_path, 20, wait=False).outcome)
        assert outcomes[-1] == "done"
        assert asked_at_most_once(server)
        assert server.batches.calls["create"] == len(server.batches.created)


@pytest.mark.parametrize("ending", ["completed", "expired"])
def test_what_failed_in_a_batch_of_an_earlier_run_is_submitted_again_once(
    tmp_path: Path, ending: str
) -> None:
    def flaky(call: Call) -> str:
        return "rate_limit" if call.attempt == 0 and call.number % 3 == 2 else "good"

    with serving(flaky, polls=2, endings=(ending, "completed")) as server:
        run(server, tmp_path, 40, wait=False)
        report = run(server, tmp_path, 40)
        assert report.outcome == "done"
        assert report.progress.traffic.failed == 0
        first, again = server.batches.sizes[:2]
        assert again <= first
        assert max(server.calls.values()) == 2


def test_a_cache_that_is_lost_finds_its_batches_again(tmp_path: Path) -> None:
    said: list[str] = []
    with serving(polls=2) as server:
        assert run(server, tmp_path / "lost", 20, wait=False).outcome == "waiting"
        report = run(server, tmp_path / "new", 20, said=said)
        assert report.outcome == "done"
        assert asked_at_most_once(server)
        assert len(server.batches.files.stored) == 2, "files of another cache are left to it"
        assert "found batch batch_0000 of this plan" in said
        assert run(server, tmp_path / "lost", 20).outcome == "done"
        assert server.batches.files.stored == {}
    assert captions(tmp_path / "lost") == captions(tmp_path / "new")


def test_batches_of_other_plans_are_left_alone(tmp_path: Path) -> None:
    with serving(polls=2) as server:
        run(server, tmp_path / "a", 20, wait=False, plan=small_plan(7))
        run(server, tmp_path / "b", 20)
        with open_ledger(tmp_path / "a") as ledger:
            assert [entry.state for entry in Book(ledger).open()] == ["submitted"]


def test_a_batch_at_another_server_is_not_forgotten(tmp_path: Path) -> None:
    with serving(polls=2) as first, serving() as second:
        run(first, tmp_path, 20, wait=False)
        with pytest.raises(UsageError) as caught:
            run(second, tmp_path, 20)
        assert f"--base-url {first.url}" in caught.value.message
        assert second.batches.created == []


def test_a_batch_that_the_server_does_not_have_is_told(tmp_path: Path) -> None:
    with serving(polls=2) as server:
        run(server, tmp_path, 20, wait=False)
        server.batches._batches.clear()
        with pytest.raises(RemoteError, match="batches CACHE --forget"):
            run(server, tmp_path, 20)


def test_answers_that_the_server_has_lost_are_told(tmp_path: Path) -> None:
    def lose(event: str) -> None:
        if event == "after poll":
            servers[0].batches.files.stored.clear()

    servers: list[ScriptedServer] = []
    with serving(watch=lose) as server:
        servers.append(server)
        with pytest.raises(RemoteError, match="does not have all answers"):
            run(server, tmp_path, 20)
        assert len(server.batches.created) == 1, "nothing is paid again without being told to"


def test_a_batch_whose_answers_are_known_is_not_missed_at_the_server(tmp_path: Path) -> None:
    with serving() as server:
        run(server, tmp_path, 10)
        with open_ledger(tmp_path) as ledger, ledger.tables() as connection:
            # As if the process had died before it noted that all was collected.
            connection.execute("UPDATE batches SET state = 'submitted'")
        server.batches._batches.clear()
        assert run(server, tmp_path, 20).outcome == "done"
        with open_ledger(tmp_path) as ledger:
            assert Book(ledger).open() == []
        assert asked_at_most_once(server)


def test_a_budget_is_kept_before_anything_is_sent(tmp_path: Path) -> None:
    price = Price(10.0, 100.0)
    with serving() as server:
        report = run(server, tmp_path, 500, limits=Limits(price=price, max_usd=0.5))
        assert report.outcome == "budget spent"
        with open_ledger(tmp_path) as ledger:
            spent = ledger.totals().usd
        assert 0 < spent <= 0.5
        assert report.progress.traffic.usd == pytest.approx(spent)
        assert all(size < 60 for size in server.batches.sizes)
        before = len(server.batches.created)
        again = run(server, tmp_path, 500, limits=Limits(price=price, max_usd=0.5))
        assert again.outcome == "budget spent"
        assert len(server.batches.created) == before


def test_a_batch_at_the_server_counts_against_the_budget_of_the_next_run(tmp_path: Path) -> None:
    limits = Limits(price=Price(10.0, 100.0), max_usd=0.5)
    with serving(polls=4) as server:
        run(server, tmp_path, 500, limits=limits, wait=False)
        with open_ledger(tmp_path) as ledger:
            held = Book(ledger).open()[0].worst.usd
        assert 0.4 < held <= 0.5
        run(server, tmp_path, 500, limits=limits, wait=False)
        assert len(server.batches.created) == 1, "no money for a second one before it is back"


def test_a_limit_of_tokens_is_kept_in_batches_and_between_runs(tmp_path: Path) -> None:
    limits = Limits(max_tokens=15_000)
    with serving(polls=4) as server:
        run(server, tmp_path, 500, limits=limits, wait=False)
        with open_ledger(tmp_path) as ledger:
            held = Book(ledger).open()[0].worst
            assert held_by_batches(ledger) == held
        assert (held.usd, 12_000 < held.tokens <= 15_000) == (0.0, True)
        run(server, tmp_path, 500, limits=limits, wait=False)
        assert len(server.batches.created) == 1, "no tokens for a second one before it is back"
        report = run(server, tmp_path, 500, limits=limits)
        assert (report.outcome, report.bound) == ("budget spent", "--max-tokens")
        with open_ledger(tmp_path) as ledger:
            assert 0 < ledger.totals().spent.tokens <= 15_000
            assert held_by_batches(ledger) == NOTHING


def test_what_the_ledger_has_needs_no_server(tmp_path: Path) -> None:
    with serving() as server:
        run(server, tmp_path, 20)
        for path in (*(tmp_path / "manifest").iterdir(), *(tmp_path / "captions").iterdir()):
            path.unlink()
        before = server.batches.calls.total()
        assert run(server, tmp_path, 20).progress.traffic.replayed > 0
        assert server.batches.calls.total() == before


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"requests": 0}, "--batch-requests must be in"),
        ({"requests": 50_001}, "--batch-requests must be in"),
        ({"batches": 0}, "--concurrency must be"),
        ({"poll": 0.0}, "--poll must be"),
    ],
)
def test_options_are_checked(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BatchOptions(**how)
