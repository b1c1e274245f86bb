"""Just enough HTTP for the scripted server: requests in, responses out, one connection for many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from pipeline.llm.scripted_files import Reply

_PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
_PHRASES |= {409: "Conflict", 429: "Too Many Requests", 500: "Internal Server Error"}


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
    """Method, path and headers of the next request; None when the client is done."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    method, path = first.split(" ")[:2]
    return method, path, {name.lower(): value.strip() for name, _, value in pairs}


async def send(
    writer: asyncio.StreamWriter,
    status: int,
    content: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send JSON."""
    await write(writer, status, json.dumps(content).encode(), headers or {})


async def send_reply(writer: asyncio.StreamWriter, reply: Reply) -> bool:
    """Send what the Batch API says; False if the connection ends with it."""
    if reply.sent == "lost":
        return False
    content, whole = reply.content, len(reply.content)
    if reply.sent == "cut":
        content = content[: whole // 2]
    await write(writer, reply.status, content, {}, reply.kind, whole)
    return reply.sent == "whole"


async def write(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    kind: str = "application/json",
    length: int | None = None,
) -> None:
    """Write a response; a `length` other than the body's promises more than comes."""
    lines = [
        f"HTTP/1.1 {status} {_PHRASES[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body) if length is None else length}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()
