"""Against a server that keeps what it reads and sends back exactly what it is told to."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from pipeline.llm.transport import NoReply, Reply, Transport

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Note: yes\r\n\r\n{}"


@dataclass
class Listener:
    """A port, and the heads of the requests that came to it."""

    port: int = 0
    heads: list[str] = field(default_factory=list)

    def url(self, login: str = "", query: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}/v1{query}"


@asynccontextmanager
async def listening(raw: bytes, *, hang: bool = False) -> AsyncIterator[Listener]:
    listener = Listener()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length:")[2].split()[0])
            await reader.readexactly(length)
            listener.heads.append(head)
            if hang:
                await asyncio.sleep(3600)
            writer.write(raw)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()


def post(
    raw: bytes = GOOD,
    *,
    login: str = "",
    query: str = "",
    key: str | None = "sk-1",
    hang: bool = False,
    timeout: float = 30.0,
) -> tuple[Reply, str]:
    """One request; the reply, and the head that the server read."""

    async def one() -> tuple[Reply, str]:
        async with listening(raw, hang=hang) as listener:
            transport = Transport(listener.url(login, query), key=key, timeout=timeout)
            try:
                reply = await transport.post("/completions", b"{}", {"Idempotency-Key": "r1"})
            finally:
                await transport.aclose()
            return reply, listener.heads[0]

    return asyncio.run(one())


def test_a_reply_is_status_headers_and_body() -> None:
    reply, head = post()
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers["x-note"] == "yes", "by name, whatever its case"
    assert head.startswith("POST /v1/completions HTTP/1.1")
    assert "Authorization: Bearer sk-1" in head
    assert "Idempotency-Key: r1" in head


def test_a_login_in_the_address_goes_in_place_of_the_key_and_a_query_stays() -> None:
    _, head = post(login="me:p%40ss@", query="?api-version=2")
    expected = base64.b64encode(b"me:p@ss").decode()
    assert f"Authorization: Basic {expected}" in head
    assert "sk-1" not in head
    assert head.startswith("POST /v1/completions?api-version=2 ")
    assert "me:" not in head


def test_no_key_is_sent_where_there_is_none() -> None:
    assert "Authorization" not in post(key=None)[1]


def test_a_redirect_is_a_reply_and_the_key_does_not_follow_it() -> None:
    reply, _ = post(
        b"HTTP/1.1 307 Go\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n"
    )
    assert reply.status == 307


@pytest.mark.parametrize(
    ("raw", "hang", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{", False, "lost"),
        (b"nonsense\r\n\r\n", False, "lost"),
        (b"", False, "lost"),
        (GOOD, True, "timeout"),
    ],
)
def test_what_is_no_whole_reply_says_whether_the_request_may_have_been_read(
    raw: bytes, hang: bool, kind: str
) -> None:
    with pytest.raises(NoReply) as caught:
        post(raw, hang=hang, timeout=0.3 if hang else 30.0)
    assert caught.value.kind == kind


def test_a_refused_connection_says_that_nothing_was_sent() -> None:
    async def one(port: int) -> None:
        transport = Transport(f"http://127.0.0.1:{port}/v1", key=None, timeout=5.0)
        try:
            await transport.post("/completions", b"{}", {})
        finally:
            await transport.aclose()

    with socket.socket() as taken:  # bound and not listening
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NoReply) as caught:
            asyncio.run(one(taken.getsockname()[1]))
    assert caught.value.kind == "refused"


def test_a_proxy_is_for_the_world_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    async def one() -> list[str]:
        async with listening(GOOD) as proxy, listening(GOOD) as server:
            for name in ("http_proxy", "HTTP_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            for url in ("http://llm.example/v1", server.url()):
                transport = Transport(url, key=None, timeout=30.0)
                await transport.post("/completions", b"{}", {})
                await transport.aclose()
            return [head.split("\r\n")[0] for head in (*proxy.heads, *server.heads)]

    assert asyncio.run(one()) == [
        "POST http://llm.example/v1/completions HTTP/1.1",
        "POST /v1/completions HTTP/1.1",
    ]
