"""Real worker processes against a real server: one plan, whatever their number and their fate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cache_store.errors import AuthenticationError, RemoteError, UsageError
from pipeline.generate import Limits, Report, generate
from pipeline.ledger import Totals, open_ledger
from pipeline.llm.prices import tokens_at_most
from pipeline.llm.scripted import Call
from pipeline.llm.scripted_server import ScriptedServer
from pipeline.llm.servers import Settings
from pipeline.llm.stripes.model import StripedModel
from pipeline.llm.stripes.staff import Hand
from tests.pipeline.llm.requests import small_plan
from tests.pipeline.test_generate import manifest_of, rows, run

PLAN = small_plan()
KEY = "sk-secret-0123456789abcdef"
ROOT = Path(__file__).parents[4]


def striped(server: ScriptedServer, workers: int = 2) -> StripedModel:
    return StripedModel(Settings(PLAN.model, (server.url,)), workers)


def write(cache: Path, n: int, model: StripedModel, **limits: Any) -> Report:
    limits.setdefault("concurrency", 6)
    return generate(cache, PLAN, model, n, limits=Limits(**limits))


def totals(cache: Path) -> Totals:
    with open_ledger(cache) as ledger:
        return ledger.totals()


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Worker processes below one; Python's own helpers are none."""
    below = [one for one in process.children(recursive=True) if one.is_running()]
    return [one for one in below if "spawn_main" in " ".join(one.cmdline())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes."""
    folder = tmp_path_factory.mktemp("whole")
    with ScriptedServer() as server:
        generate(folder / "c", PLAN, striped(server)._here, 200)
    return folder / "c"


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_rows_are_the_same_whatever_the_number_of_workers(
    whole: Path, tmp_path: Path, workers: int
) -> None:
    with ScriptedServer() as server:
        report = write(tmp_path / "c", 200, striped(server, workers))
    assert report.outcome == "done"
    assert rows(tmp_path / "c") == rows(whole)
    assert rows(tmp_path / "c", "rejects") == rows(whole, "rejects")
    assert set(server.calls.values()) == {1}
    traffic = report.progress.traffic
    assert traffic.asked == totals(tmp_path / "c").answers == server.calls.total()
    assert traffic.in_flight == 0
    assert not workers_of(psutil.Process()), "no worker outlives the run"
    step = manifest_of(tmp_path / "c").provenance[-1]
    assert (step["backend"], step["captions"]) == ("openai", 200)
    assert not any("worker" in name for name in step)


def test_a_plan_goes_on_with_another_number_of_workers_and_pays_for_what_is_new(
    whole: Path, tmp_path: Path
) -> None:
    with ScriptedServer() as server:
        for workers, n in ((2, 50), (3, 120), (1, 200)):
            write(tmp_path / "c", n, striped(server, workers))
        assert set(server.calls.values()) == {1}
    assert rows(tmp_path / "c") == rows(whole)


def test_failures_are_made_good_in_the_worker(whole: Path, tmp_path: Path) -> None:
    def bumpy(call: Call) -> str:
        kinds = ("rate_limit", "server_error", "drop", "good")
        return kinds[call.number % 4] if call.attempt == 0 else "good"

    with ScriptedServer(bumpy, retry_after=0.01) as server:
        report = write(tmp_path / "c", 200, striped(server))
    assert report.progress.traffic.retries > 10
    assert rows(tmp_path / "c") == rows(whole)


def test_a_killed_worker_is_replaced_and_its_requests_count_as_lost(
    whole: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        if not killed and report_of_progress.kept > 30:
            victim = workers_of(psutil.Process())[0].pid
            killed.append(victim)
            os.kill(victim, signal.SIGKILL)

    from pipeline.panel import Progress

    report_of_progress = Progress()
    with ScriptedServer(seconds=0.02) as server:
        report = generate(
            tmp_path / "c",
            PLAN,
            striped(server),
            200,
            limits=Limits(concurrency=6),
            progress=report_of_progress,
            changed=kill_one,
        )
    assert killed
    assert report.outcome == "done"
    assert rows(tmp_path / "c") == rows(whole)
    resent = [times for times in server.calls.values() if times > 1]
    assert len(resent) <= 3, "the requests that it had in flight, half of all"
    # What it had marked ahead is lost with what it had sent.
    assert 1 <= totals(tmp_path / "c").attempts - server.calls.total() + len(resent) + 6 <= 18


def test_workers_that_always_die_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start: Callable[[Hand], None] = Hand.start

    def stillborn(self: Hand) -> None:
        start(self)
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGKILL)

    monkeypatch.setattr(Hand, "start", stillborn)
    with ScriptedServer() as server, pytest.raises(RemoteError, match="end at once"):
        write(tmp_path / "c", 50, striped(server))
    assert not workers_of(psutil.Process())


def test_a_refused_key_ends_it_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedServer(key="another") as server:
        with pytest.raises(AuthenticationError) as caught:
            write(tmp_path / "c", 50, striped(server))
        assert KEY not in str(caught.value)
        assert KEY not in repr(striped(server))
    with pytest.raises(AuthenticationError):
        monkeypatch.delenv("OPENAI_API_KEY")
        StripedModel(Settings("m", ("https://example.org/v1",)), 2)


def test_a_server_that_died_ends_it_with_what_was_answered(whole: Path, tmp_path: Path) -> None:
    dies = ScriptedServer(lambda call: "good" if call.number < 20 else "unauthorized")
    with dies as server, pytest.raises(AuthenticationError):
        write(tmp_path / "c", 200, striped(server))
    assert 0 < len(rows(tmp_path / "c")) < 200
    with ScriptedServer() as server:
        write(tmp_path / "c", 200, striped(server))
    assert rows(tmp_path / "c") == rows(whole)


def test_a_budget_is_shared_and_not_passed(tmp_path: Path) -> None:
    worst = max(tokens_at_most(PLAN.request(index)) for index in range(100))
    most = 40 * worst
    with ScriptedServer() as server:
        report = write(tmp_path / "c", 10_000, striped(server), max_tokens=most)
    assert (report.outcome, report.bound) == ("budget spent", "--max-tokens")
    spent = totals(tmp_path / "c").spent.tokens
    # The first worker whose share is too small for one more request ends it for all: what the
    # other has left is a few requests, since the two keep pace.
    assert most - 16 * worst <= spent <= most


def test_a_budget_for_few_requests_needs_few_workers(tmp_path: Path) -> None:
    worst = tokens_at_most(PLAN.request(0))
    with ScriptedServer() as server:
        report = write(tmp_path / "c", 1000, striped(server, 6), max_tokens=3 * worst)
    assert report.outcome == "budget spent"
    assert totals(tmp_path / "c").answers >= 2


def test_limits_a_minute_hold_for_all_workers_together(tmp_path: Path) -> None:
    # 120 a minute are two a second: ten requests take four seconds at least.
    began = time.monotonic()
    with ScriptedServer() as server:
        write(tmp_path / "c", 25, striped(server), rpm=120)
        calls = server.calls.total()
    assert calls / (time.monotonic() - began) <= 2.5


def test_ctrl_c_publishes_and_the_next_run_goes_on(whole: Path, tmp_path: Path) -> None:
    from pipeline.panel import Progress

    progress, sent = Progress(), False

    def interrupt() -> None:
        nonlocal sent
        if progress.kept >= 20 and not sent:
            sent = True
            signal.raise_signal(signal.SIGINT)

    with ScriptedServer(seconds=0.01) as server:
        report = generate(
            tmp_path / "c",
            PLAN,
            striped(server),
            200,
            limits=Limits(concurrency=6),
            progress=progress,
            changed=interrupt,
        )
        assert report.outcome == "stopped"
        assert 20 <= len(rows(tmp_path / "c")) < 200
        assert not workers_of(psutil.Process())
        write(tmp_path / "c", 200, striped(server))
        assert set(server.calls.values()) == {1}, "what was in flight was waited for"
    assert rows(tmp_path / "c") == rows(whole)


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[[str, int], list[str]]]:
    def words(url: str, n: int) -> list[str]:
        return [
            *(sys.executable, "-m", "tests.pipeline.run", "generate", str(tmp_path / "c")),
            *("-n", str(n), "--backend", "openai", "--model", "scripted", "--base-url", url),
            *("--workers", "2", "--concurrency", "8"),
        ]

    yield words


def test_workers_end_with_a_killed_parent_and_the_same_command_goes_on(
    tmp_path: Path, command: Callable[[str, int], list[str]]
) -> None:
    with ScriptedServer(seconds=0.02) as server:
        process = subprocess.Popen(command(server.url, 400), cwd=ROOT, stderr=subprocess.DEVNULL)
        while server.calls.total() < 20 and process.poll() is None:
            time.sleep(0.01)
        workers = workers_of(psutil.Process(process.pid))
        assert len(workers) == 2
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive, "no worker outlives its parent"
        threading.Event().wait(0.05)  # what the server still answers
        with open_ledger(tmp_path / "c") as ledger:
            known = set(ledger._connection.execute("SELECT request_id FROM answers").fetchall())
            lost = ledger.totals().lost
        # Eight in flight, and half as many marked ahead.
        assert lost <= 12
        before = dict(server.calls)
        done = subprocess.run(command(server.url, 400), cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        again = {one for one, times in server.calls.items() if times > before.get(one, 0)}
        assert not {one for (one,) in known} & again, "an answer of the ledger was asked for again"
        assert all(times <= 2 for times in server.calls.values())
    assert len(rows(tmp_path / "c")) == 400


def test_what_the_workers_learn_is_remembered(tmp_path: Path) -> None:
    with ScriptedServer(structured="tool") as server:
        model = striped(server)
        write(tmp_path / "c", 40, model)
        refused = server.refused
        assert refused <= 2, "each worker finds out once"
        assert model.describe()["dialects"][server.url]["structured"] == "tool"
        write(tmp_path / "c", 80, striped(server))
        assert server.refused == refused, "a later run begins with what was found out"


def test_few_requests_of_a_retry_are_asked_from_one_process(tmp_path: Path) -> None:
    from pipeline.retry import retry

    with ScriptedServer(lambda call: "hang" if call.number == 5 else "good") as server:
        model = StripedModel(Settings(PLAN.model, (server.url,), timeout=0.2), 2)
        report = run(tmp_path / "c", 40, model, limits=Limits(concurrency=4))  # type: ignore[arg-type]
        assert report.outcome == "done"
    with ScriptedServer() as server:
        again = retry(tmp_path / "c", PLAN, striped(server), refused=True)
    assert again.outcome in ("done", "nothing to do")


def test_a_setting_that_cannot_work_is_found_before_anything_starts() -> None:
    with pytest.raises(UsageError):
        StripedModel(Settings("m", ("not a url",)), 2)
