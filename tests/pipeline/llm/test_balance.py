"""Several real servers on this machine, some of which fail, hang up, or were never there."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence

import pytest

from cache_store.errors import AuthenticationError, UnreachableError
from pipeline.llm.balance import BalancedBackend
from pipeline.llm.base import AttemptFailed
from pipeline.llm.openai_server import OpenAIBackend
from pipeline.llm.scripted_server import ScriptedServer
from tests.pipeline.llm.requests import chat_request


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def client(*urls: str) -> BalancedBackend:
    return BalancedBackend([OpenAIBackend("scripted", base_url=url) for url in urls])


def ask(backend: BalancedBackend, count: int, *, at_once: bool = True) -> list[str]:
    """The answers to the first `count` requests."""

    async def go() -> list[str]:
        try:
            if at_once:
                answers = await asyncio.gather(
                    *(backend.answer(chat_request(index)) for index in range(count))
                )
            else:
                answers = [await backend.answer(chat_request(index)) for index in range(count)]
            return [answer.text for answer in answers]
        finally:
            await backend.aclose()

    return asyncio.run(go())


def counts(*servers: ScriptedServer) -> list[int]:
    return [server.calls.total() for server in servers]


def test_requests_go_where_the_fewest_are_in_flight() -> None:
    async def known_first(backend: BalancedBackend) -> None:
        # Whoever answers first is known first; until both are, only one takes more than one.
        for some in (range(2), range(2, 40)):
            await asyncio.gather(*(backend.answer(chat_request(index)) for index in some))
        await backend.aclose()

    with ScriptedServer(seconds=0.02) as one, ScriptedServer(seconds=0.02) as other:
        asyncio.run(known_first(client(one.url, other.url)))
        assert counts(one, other) == [20, 20]


def test_a_slow_server_gets_fewer() -> None:
    with ScriptedServer(seconds=0.0) as quick, ScriptedServer(seconds=0.4) as slow:
        backend = client(quick.url, slow.url)

        async def four_at_a_time() -> None:
            gate = asyncio.Semaphore(4)

            async def one(index: int) -> None:
                async with gate:
                    await backend.answer(chat_request(index))

            await asyncio.gather(*(one(index) for index in range(60)))
            await backend.aclose()

        asyncio.run(four_at_a_time())
        assert quick.calls.total() > 2 * slow.calls.total() > 0


def test_answers_do_not_depend_on_the_servers() -> None:
    with ScriptedServer() as one, ScriptedServer() as other:
        assert ask(client(one.url), 8) == ask(client(other.url, one.url), 8)


def test_a_server_that_was_never_there_is_passed_over() -> None:
    with ScriptedServer() as server:
        backend = client(f"http://127.0.0.1:{free_port()}/v1", server.url)
        assert len(ask(backend, 12)) == 12
        assert counts(server) == [12]


def test_when_none_was_ever_there_it_ends_at_once() -> None:
    urls = [f"http://127.0.0.1:{free_port()}/v1" for _ in range(2)]
    with pytest.raises(UnreachableError):
        ask(client(*urls), 1)


def test_a_server_that_went_away_is_set_aside_and_found_again() -> None:
    port = free_port()
    now = 0.0

    async def go(first: ScriptedServer, other: ScriptedServer) -> None:
        nonlocal now
        backend = BalancedBackend(
            [OpenAIBackend("scripted", base_url=url) for url in (first.url, other.url)],
            clock=lambda: now,
        )

        async def some(count: int) -> None:
            await asyncio.gather(*(backend.answer(chat_request(index)) for index in range(count)))

        await some(4)
        await asyncio.to_thread(first.close)
        before = counts(other)[0]
        await some(10)
        assert counts(other) == [before + 10], "all were answered, by the one that is there"
        with ScriptedServer(port=port) as again:
            await some(4)
            assert counts(again) == [0], "it is not tried before its time"
            now += 1.5
            await some(6)
            assert 0 < counts(again)[0] < 6, "one probes, and then it has its share"
            await backend.aclose()

    with ScriptedServer(port=port) as first, ScriptedServer() as other:
        asyncio.run(go(first, other))


def test_retry_after_holds_back_only_the_server_that_said_it() -> None:
    with ScriptedServer(["rate_limit"], retry_after=60) as busy, ScriptedServer() as free:
        backend = client(busy.url, free.url)

        async def go() -> list[AttemptFailed]:
            failures = []
            for index in range(10):
                try:
                    await backend.answer(chat_request(index))
                except AttemptFailed as failure:
                    failures.append(failure)
            await backend.aclose()
            return failures

        (failure,) = asyncio.run(go())
        assert failure.outcome == "rate_limit"
        assert failure.retry_after is None, "the other server may be asked at once"
        assert counts(busy, free) == [1, 9]


def test_when_all_ask_to_wait_the_shortest_wait_counts() -> None:
    def failing(retry_after: float) -> ScriptedServer:
        return ScriptedServer(["rate_limit"], retry_after=retry_after)

    with failing(60) as one, failing(30) as other:
        backend = client(one.url, other.url)

        async def go() -> AttemptFailed:
            with pytest.raises(AttemptFailed):
                await backend.answer(chat_request(0))
            with pytest.raises(AttemptFailed) as caught:
                await backend.answer(chat_request(1))
            await backend.aclose()
            return caught.value

        failure = asyncio.run(go())
    assert failure.retry_after == pytest.approx(30, abs=5)


def test_each_server_has_its_own_dialect() -> None:
    with ScriptedServer(structured="tool") as tool, ScriptedServer() as schema:
        backend = client(tool.url, schema.url)
        ask(backend, 6, at_once=False)
        dialects = backend.describe()["dialects"]
    assert dialects[tool.url]["structured"] == "tool"
    assert dialects[schema.url]["structured"] == "json_schema"
    assert backend.describe()["base_url"] == [tool.url, schema.url]


def test_a_refused_key_ends_it() -> None:
    with (
        ScriptedServer(key="another") as server,
        ScriptedServer() as other,
        pytest.raises(AuthenticationError),
    ):
        ask(client(server.url, other.url), 4)


def test_nothing_secret_is_described() -> None:
    urls = ["http://me:password-1@127.0.0.1:1/v1?k=v", "http://127.0.0.1:2/v1"]
    backend: Sequence[str] = repr(client(*urls)) + json.dumps(client(*urls).describe())
    assert "password-1" not in backend
    assert "k=v" not in backend
