"""A scripted language model behind a real HTTP server on this machine.

Speaks /v1/chat/completions, /v1/completions and /v1/models, so that a whole set-up can be tried
with no model, no key and no network: `with ScriptedServer(["good", "rate_limit"]) as server:` and
then `--backend openai --base-url` with `server.url`. It runs in a thread of its own, listens on
127.0.0.1 only, and counts what it was asked, by request id.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from pipeline.llm.scripted import Actor, Script, text_of, tokens_of
from prompts.request import Request, digest

_MOST_BYTES = 16 * 2**20  # of a request's body
_PHRASES = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
_PHRASES |= {429: "Too Many Requests", 500: "Internal Server Error"}

_COUNT = re.compile(r"^Write (\d+) ", re.MULTILINE)
_SOUNDS = re.compile(r"(?:another recording of|all of these are heard): (.+)")


class ScriptedServer:
    """A fake server for use as a context manager.

    Args:
        script: How it behaves; see `scripted.Actor`.
        model: What it calls its model.
        key: The only key it takes; None takes any.
        seconds: How long an answer takes.
        retry_after: Seconds that it asks to wait with a 429; None says nothing.
        structured: False refuses `response_format`, as servers without structured output do.
        refuses: Parameters that it refuses by name, as some models do.
        message: What it says when it fails.
        port: 0 for any free one.

    Attributes:
        calls: Requests answered or refused, by request id (their `Idempotency-Key`).
        bodies: The parsed body of every request that was not refused, in order of arrival.
        refused: Requests refused for a parameter.
        most_at_once: The most requests that it had at a time.
    """

    def __init__(
        self,
        script: Script = ("good",),
        *,
        model: str = "scripted",
        key: str | None = None,
        seconds: float = 0.0,
        retry_after: float | None = None,
        structured: bool = True,
        refuses: tuple[str, ...] = (),
        message: str = "the engine died",
        port: int = 0,
    ) -> None:
        self._actor = Actor(script)
        self._model = model
        self._key = key
        self._seconds = seconds
        self._retry_after = retry_after
        self._refuses = (*refuses, *(() if structured else ("response_format",)))
        self._names_refused = structured
        self._message = message
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="scripted-server", daemon=True)
        self._listening = threading.Event()
        self._stop = asyncio.Event()
        self._at_once = 0
        self.bodies: list[dict[str, Any]] = []
        self.most_at_once = 0
        self.refused = 0

    @property
    def url(self) -> str:
        """What to give as `--base-url`."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def calls(self) -> Counter[str]:
        """Requests so far, by id."""
        return self._actor.calls

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, and end every connection; harmless if that was done."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await _read_head(reader)) is not None:
                path, headers = head
                length = min(int(headers.get("content-length", 0)), _MOST_BYTES)
                body = await reader.readexactly(length)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    if not await self._respond(writer, path, headers, body):
                        return
                finally:
                    self._at_once -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client, or the end of the server
        finally:
            writer.close()

    async def _respond(
        self, writer: asyncio.StreamWriter, path: str, headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Answer one HTTP request; False if the connection ends with it."""
        if path.endswith("/models"):
            await _send(writer, 200, {"object": "list", "data": [{"id": self._model}]})
            return True
        if not path.endswith("/completions"):
            await _send(writer, 404, _error("no such path", "not_found"))
            return True
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self._key is not None and given != self._key:
            # As unkind as servers are: they repeat the key.
            await _send(writer, 401, _error(f"Incorrect API key provided: {given}", "bad_key"))
            return True
        try:
            asked = json.loads(body)
        except ValueError:
            await _send(writer, 400, _error("the body is not JSON", "bad_body"))
            return True
        for name in self._refuses:
            if name in asked:
                self.refused += 1
                param = name if self._names_refused else None
                message = f"{name} is not supported by this model"
                await _send(writer, 400, _error(message, "unsupported_parameter", param))
                return True
        self.bodies.append(asked)
        request = _request(asked, headers, is_chat=path.endswith("/chat/completions"))
        return await self._play(writer, self._actor.next(request), request)

    async def _play(self, writer: asyncio.StreamWriter, behaviour: str, request: Request) -> bool:
        if behaviour == "hang":
            await self._stop.wait()
            return False
        await asyncio.sleep(self._seconds)
        if behaviour == "rate_limit":
            extra = {} if self._retry_after is None else {"Retry-After": f"{self._retry_after:g}"}
            await _send(writer, 429, _error("slow down", "rate_limit_exceeded"), extra)
        elif behaviour == "server_error":
            await _send(writer, 500, _error(self._message, "server_error"))
        elif behaviour == "unauthorized":
            await _send(writer, 401, _error("no such key", "invalid_api_key"))
        elif behaviour == "not_an_api":
            await _write(writer, 200, b"<html><body>Welcome!</body></html>", {}, "text/html")
        else:
            reply = _completion(behaviour, request, self._model)
            if behaviour == "drop":
                half = json.dumps(reply).encode()
                await _write(writer, 200, half[: len(half) // 2], {}, length=len(half))
                return False
            await _send(writer, 200, reply)
        return True


def _completion(behaviour: str, request: Request, model: str) -> dict[str, Any]:
    text, finish_reason = text_of(behaviour, request)
    said: dict[str, Any] = {"text": text}
    if request.is_chat:
        said = {"message": {"role": "assistant", "content": text}}
    asked = request.prompt + "".join(message["content"] for message in request.messages)
    read, written = tokens_of(asked), tokens_of(text)
    return {
        "id": f"scripted-{request.id[:12]}",
        "object": "chat.completion" if request.is_chat else "text_completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "finish_reason": finish_reason, **said}],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


def _request(asked: Mapping[str, Any], headers: Mapping[str, str], *, is_chat: bool) -> Request:
    """What was asked, read back from the protocol as far as the grammar needs it."""
    messages = tuple(asked.get("messages", ())) if is_chat else ()
    prompt = "" if is_chat else str(asked.get("prompt", ""))
    text = messages[-1]["content"] if messages else prompt
    count, sounds = _COUNT.search(text), _SOUNDS.search(text)
    named = sounds[1] if sounds else prompt.rstrip().rpartition("\n")[2].rstrip(":")
    concepts = tuple(filter(None, (name.strip(" .") for name in named.split(","))))
    return Request(
        index=0,
        id=headers.get("idempotency-key") or digest(dict(asked))[:32],
        messages=messages,
        prompt=prompt,
        concepts=concepts or ("sound",),
        axes={},
        seed=int(asked.get("seed") or 0),
        max_tokens=int(asked.get("max_tokens") or asked.get("max_completion_tokens") or 256),
        temperature=float(asked.get("temperature", 1.0)),
        top_p=float(asked.get("top_p", 1.0)),
        # Chat requests of ours ask for JSON in words too, so a server without structured output
        # answers in JSON all the same.
        schema={} if is_chat else None,
        count=int(count[1]) if count else int(asked.get("n") or 1),
        model=str(asked.get("model", "")),
    )


def _error(message: str, code: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": code, "code": code, "param": param}}


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]] | None:
    """The path and the headers of the next HTTP request; None when the client is done."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs}


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    content: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> None:
    await _write(writer, status, json.dumps(content).encode(), headers or {})


async def _write(
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
