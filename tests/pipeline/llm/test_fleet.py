"""Real worker processes against a real server; some are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from cache_store.errors import AuthenticationError, RemoteError
from pipeline.llm.base import Answer, AttemptFailed
from pipeline.llm.fleet import FleetBackend
from pipeline.llm.scripted import Call
from pipeline.llm.scripted_server import ScriptedServer
from pipeline.llm.servers import Settings, open_servers
from tests.pipeline.llm.requests import chat_request, completion_request

KEY = "sk-secret-0123456789abcdef"


def settings(*urls: str, model: str = "scripted") -> Settings:
    return Settings(model, urls)


async def all_of(backend: FleetBackend, count: int) -> list[Answer]:
    return list(
        await asyncio.gather(*(backend.answer(chat_request(index)) for index in range(count)))
    )


def children() -> list[int]:
    """The ids of this process's children, by the process table; Python's own helper is none."""
    import psutil

    below = psutil.Process().children()
    return [one.pid for one in below if "resource_tracker" not in " ".join(one.cmdline())]


def test_answers_are_the_same_as_from_one_process() -> None:
    with ScriptedServer() as server:

        async def by(workers: int) -> list[Answer]:
            backend = FleetBackend(settings(server.url), workers)
            try:
                assert not children()
                answers = await all_of(backend, 12)
                assert len(children()) == workers
                return [*answers, await backend.answer(completion_request())]
            finally:
                await backend.aclose()
                assert not children(), "no worker outlives it"

        async def alone() -> list[Answer]:
            backend = open_servers(settings(server.url))
            try:
                requests = [*map(chat_request, range(12)), completion_request()]
                return [await backend.answer(request) for request in requests]
            finally:
                await backend.aclose()

        expected = asyncio.run(alone())
        assert asyncio.run(by(1)) == asyncio.run(by(3)) == expected


def test_a_killed_worker_loses_its_requests_and_is_replaced() -> None:
    def hangs_at_first(call: Call) -> str:
        return "hang" if 0 < call.number < 9 else "good"

    with ScriptedServer(hangs_at_first) as server:

        async def go() -> None:
            backend = FleetBackend(settings(server.url), 2)
            try:
                await backend.answer(chat_request(0))
                tasks = [asyncio.create_task(backend.answer(chat_request(i))) for i in range(8)]
                while server.calls.total() < 9:
                    await asyncio.sleep(0.01)
                victim = children()[0]
                os.kill(victim, signal.SIGKILL)
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(0)
                lost = [task.exception() for task in tasks if task.done()]
                assert len(lost) == 4, "those that it had, half of them"
                for failure in lost:
                    assert isinstance(failure, AttemptFailed)
                    assert (failure.outcome, failure.may_cost) == ("lost", True)
                for task in tasks:
                    task.cancel()
                await all_of(backend, 4)
                assert len(children()) == 2
                assert victim not in children()
            finally:
                await backend.aclose()

        asyncio.run(go())


def test_failures_and_errors_come_through_the_pipe_as_they_were() -> None:
    script = ["good", "rate_limit", "drop"]
    with ScriptedServer(script, retry_after=7) as server:

        async def go() -> list[AttemptFailed]:
            backend = FleetBackend(settings(server.url), 1)
            failures = []
            for index in range(3):
                try:
                    await backend.answer(chat_request(index))
                except AttemptFailed as failure:
                    failures.append(failure)
            await backend.aclose()
            return failures

        limited, dropped = asyncio.run(go())
    assert (limited.outcome, limited.retry_after, limited.may_cost) == ("rate_limit", 7.0, False)
    assert (dropped.outcome, dropped.may_cost) == ("no_connection", True)
    assert "too many requests" in limited.error.message
    assert server.url in limited.error.message


def test_the_key_comes_by_the_environment_and_never_by_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedServer(key=KEY) as server:

        async def go() -> str:
            backend = FleetBackend(settings(server.url), 1)
            try:
                await backend.answer(chat_request())
                (pid,) = children()
                return Path(f"/proc/{pid}/cmdline").read_text() if sys.platform == "linux" else ""
            finally:
                await backend.aclose()

        assert KEY not in asyncio.run(go())
    with ScriptedServer(key="another") as server:
        backend = FleetBackend(settings(server.url), 1)

        async def refused() -> None:
            try:
                await backend.answer(chat_request())
            finally:
                await backend.aclose()

        with pytest.raises(AuthenticationError) as caught:
            asyncio.run(refused())
        assert KEY not in str(caught.value)


def test_what_is_wrong_with_the_settings_is_found_before_anything_starts() -> None:
    with pytest.raises(AuthenticationError):
        FleetBackend(settings("https://example.org/v1"), 2)


def test_workers_that_cannot_start_end_it() -> None:
    backend = FleetBackend(
        settings("http://127.0.0.1:1/v1"), 1, command=(sys.executable, "-c", "raise SystemExit(3)")
    )

    async def go() -> None:
        try:
            for _ in range(10):
                with pytest.raises(AttemptFailed):
                    await backend.answer(chat_request())
        finally:
            await backend.aclose()

    with pytest.raises(RemoteError, match="end at once"):
        asyncio.run(go())


def test_what_the_workers_learn_is_described() -> None:
    with ScriptedServer(structured="tool") as server:

        async def go() -> dict[str, object]:
            backend = FleetBackend(settings(server.url), 2)
            await all_of(backend, 6)
            await backend.aclose()
            return backend.describe()

        told = asyncio.run(go())
        assert server.refused == 1, "one worker found it out, and told the other"
    assert json.loads(json.dumps(told)) == told
    assert told["dialects"][server.url]["structured"] == "tool"  # type: ignore[index]
