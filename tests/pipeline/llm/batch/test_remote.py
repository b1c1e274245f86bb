"""The calls, against a real HTTP server on this machine that fails as servers do."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    RemoteError,
    UnreachableError,
    UsageError,
)
from pipeline.llm.batch.faults import NotThere
from pipeline.llm.batch.lines import CHAT_ENDPOINT, input_line
from pipeline.llm.batch.remote import LONGEST_LINE, BatchServer
from pipeline.llm.batch.rounds import Member, file_name, metadata
from pipeline.llm.dialect import Dialect
from pipeline.llm.retry import RetryPolicy
from pipeline.llm.scripted_batches import BatchScript
from pipeline.llm.scripted_server import ScriptedServer
from tests.pipeline.llm.requests import chat_request

KEY = "sk-secret-0123456789abcdef"
T = TypeVar("T")

REQUESTS = [chat_request(index) for index in range(3)]
CONTENT = b"".join(input_line(request, Dialect()) for request in REQUESTS)
CARRIED = metadata("p" * 16, "round", [Member(one.id, one.index) for one in REQUESTS])


def ask(
    server: ScriptedServer,
    call: Callable[[BatchServer], Awaitable[T]],
    *,
    key: str | None = None,
    attempts: int = 4,
) -> T:
    async def run() -> T:
        client = BatchServer(server.url, api_key=key, policy=RetryPolicy(attempts, base=0.0))
        try:
            return await call(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def submitting(
    name: str = "round", others: tuple[str, ...] = ()
) -> Callable[[BatchServer], Awaitable[Any]]:
    return lambda client: client.submit(
        name, io.BytesIO(CONTENT), endpoint=CHAT_ENDPOINT, carried=CARRIED, others=others
    )


def serving(script: list[str] | None = None, key: str | None = None, **how: Any) -> ScriptedServer:
    return ScriptedServer(script or ["good"], key=key, batches=BatchScript(**how))


def test_a_batch_is_made_of_an_uploaded_file() -> None:
    with serving() as server:
        batch = ask(server, submitting())
        assert server.batches.files.uploaded == [file_name("round")]
        assert server.batches.files.stored[batch.input_file_id] == CONTENT
        assert server.batches.created == [CARRIED]
        assert ask(server, lambda client: client.input_file("round")) == batch.input_file_id
        assert ask(server, lambda client: client.input_file("other")) is None


def test_what_the_server_has_is_not_made_again() -> None:
    with serving() as server:
        first, second = ask(server, submitting()), ask(server, submitting())
        assert second.id == first.id
        third = ask(server, submitting(others=(first.id,)))
        assert third.id != first.id, "one that is known, and not meant, is no reason"
        assert len(server.batches.created) == 2
        assert len(server.batches.files.uploaded) == 1, "the file is there already"


@pytest.mark.parametrize("step", ["upload", "create"])
@pytest.mark.parametrize("fault", ["lost", "cut", "server_error", "rate_limit"])
def test_nothing_is_made_twice_because_an_answer_was_lost(step: str, fault: str) -> None:
    with serving(faults={step: [fault, fault]}) as server:
        ask(server, submitting())
        assert len(server.batches.created) == 1
        assert len(server.batches.files.stored) == 1


def test_it_is_found_on_whatever_page_it_is() -> None:
    with serving() as server:
        wanted = ask(server, submitting())

        async def others(client: BatchServer) -> None:
            for number in range(120):
                await client._client.batches.create(
                    input_file_id=wanted.input_file_id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={"round": "round"} if number % 2 else {},
                )

        ask(server, others)
        before = server.batches.calls["batches"]
        assert ask(server, submitting()).id == wanted.id, "those of others are not ours"
        assert server.batches.calls["batches"] == before + 2


def test_failed_batches_are_of_no_use() -> None:
    with serving(endings=("failed:model_not_found", "completed")) as server:
        first = ask(server, submitting())
        ask(server, lambda client: client.batch(first.id))
        assert ask(server, submitting()).id != first.id


def test_failures_that_pass_are_waited_for_and_others_are_not() -> None:
    with serving(faults={"poll": ["server_error", "rate_limit", "lost"]}) as server:
        batch = ask(server, submitting())
        assert ask(server, lambda client: client.batch(batch.id)).status == "completed"
    with serving(faults={"poll": ["server_error"] * 9}) as server:
        batch = ask(server, submitting())
        with pytest.raises(RemoteError, match="the server failed"):
            ask(server, lambda client: client.batch(batch.id))
        assert server.batches.calls["poll"] == 4


def test_what_is_not_there_is_told_apart() -> None:
    with serving() as server:
        with pytest.raises(NotThere):
            ask(server, lambda client: client.batch("batch_x"))
        with pytest.raises(NotThere):
            ask(server, lambda client: client.each_line("file-x", print))
        with pytest.raises(NotThere):
            ask(server, lambda client: client.cancel("batch_x"))
        assert ask(server, lambda client: client.delete("file-x")), "gone is gone"


def test_a_file_that_cannot_be_deleted_is_no_error() -> None:
    with serving(faults={"delete": ["server_error"] * 9}) as server:
        batch = ask(server, submitting())
        assert not ask(server, lambda client: client.delete(batch.input_file_id))


def test_lines_come_one_by_one_and_again_after_a_cut() -> None:
    long, strange = b"x" * (LONGEST_LINE + 7), "a\u2028b\x85c".encode()
    content = b"one\n" + strange + b"\n" + long + b"\n\nlast"
    got: list[bytes] = []
    with serving(faults={"content": ["cut", "lost"]}) as server:
        file_id = server.batches.files.add(content, "f")
        ask(server, lambda client: client.each_line(file_id, got.append))
    last = got[-5:]
    assert (last[0], last[1], last[3], last[4]) == (b"one", strange, b"", b"last")
    assert LONGEST_LINE < len(last[2]) <= len(long), "read no further than it must"
    assert got[:2] == [b"one", strange], "what came before the cut came too"


def test_cancelling_what_has_ended_does_no_harm() -> None:
    with serving(polls=3) as server:
        batch = ask(server, submitting())
        ask(server, lambda client: client.cancel(batch.id))
        assert ask(server, lambda client: client.batch(batch.id)).status == "cancelled"
        ask(server, lambda client: client.cancel(batch.id))
        assert server.batches.cancelled == 1


def test_a_wrong_key_ends_at_once_and_is_not_shown() -> None:
    with serving(key="another") as server, pytest.raises(AuthenticationError) as caught:
        ask(server, submitting(), key=KEY)
    assert "OPENAI_API_KEY" in caught.value.message
    assert KEY not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None, "the server's own error repeats the key"


def test_the_key_is_in_no_repr_and_no_words() -> None:
    client = BatchServer("https://user:pw@example.org/v1?k=v", api_key=KEY)
    shown = repr(client) + client.shown(f"no {KEY} here " + "x" * 999)
    assert "***" in shown
    for secret in (KEY, "pw", "user:", "k=v"):
        assert secret not in shown
    assert len(shown) < 400
    asyncio.run(client.aclose())


def test_no_key_for_a_server_elsewhere() -> None:
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        BatchServer("https://example.org/v1")
    with pytest.raises(UsageError):
        BatchServer("example.org")


def test_a_server_without_batches_is_told_as_such() -> None:
    with ScriptedServer() as server:
        url = server.url.replace("/v1", "/v9")
        client = BatchServer(url, policy=RetryPolicy(2, base=0.0))

        async def run() -> None:
            try:
                await client.recent()
            finally:
                await client.aclose()

        with pytest.raises(BadAnswerError, match="Batch API"):
            asyncio.run(run())


def test_a_server_that_is_not_there_is_told_as_such() -> None:
    with ScriptedServer() as server:
        pass
    with pytest.raises(UnreachableError, match="no connection"):
        ask(server, lambda client: client.recent(), attempts=2)
