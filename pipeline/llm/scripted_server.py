"""A scripted language model behind a real HTTP server on this machine.

Speaks /v1/chat/completions, /v1/completions, /v1/models and the Batch API (/v1/files and
/v1/batches, see `scripted_batches`), so that a whole set-up can be tried with no model, no key and
no network: `with ScriptedServer(["good", "rate_limit"]) as server:` and then `--backend openai
--base-url` with `server.url`. It runs in a thread of its own, listens on 127.0.0.1 only, and counts
what it was asked, by request id.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal

from pipeline.llm.dialect import TOOL
from pipeline.llm.scripted import Actor, Script, text_of, tokens_of
from pipeline.llm.scripted_batches import BatchScript, ScriptedBatches
from pipeline.llm.scripted_http import read_head, send, send_reply, write
from prompts.request import Request, digest

_MOST_BYTES = 256 * 2**20  # of a request's body; the input file of a batch is the largest

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
        structured: False refuses `response_format` and `tools` without naming them, as servers
            without structured output do; "tool" refuses the first by name, and calls the tool.
        refuses: Parameters that it refuses by name, as some models do.
        message: What it says when it fails.
        batches: How its batches go.
        port: 0 for any free one.

    Attributes:
        calls: Requests answered or refused, by request id (their `Idempotency-Key`).
        bodies: The parsed body of every request that was not refused, in order of arrival.
        refused: Requests refused for a parameter.
        most_at_once: The most requests that it had at a time.
        batches: Its files and batches, which counts them.
    """

    def __init__(
        self,
        script: Script = ("good",),
        *,
        model: str = "scripted",
        key: str | None = None,
        seconds: float = 0.0,
        retry_after: float | None = None,
        structured: bool | Literal["tool"] = True,
        refuses: tuple[str, ...] = (),
        message: str = "the engine died",
        batches: BatchScript | None = None,
        port: int = 0,
    ) -> None:
        self._actor = Actor(script)
        self._model = model
        self._key = key
        self._seconds = seconds
        self._retry_after = retry_after
        unstructured = {"tool": ("response_format",), False: ("response_format", "tools"), True: ()}
        self._refuses = (*refuses, *unstructured[structured])
        self._names_refused = bool(structured)
        self._message = message
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None  # while it runs
        self._thread = threading.Thread(target=self._run, name="scripted-server", daemon=True)
        self._listening = threading.Event()
        self._stop = asyncio.Event()
        self._at_once = 0
        self.bodies: list[dict[str, Any]] = []
        self.most_at_once = 0
        self.refused = 0
        self.batches = ScriptedBatches(batches or BatchScript(), self._batched, time.time)

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
        if self._thread.is_alive() and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        for _ in range(3):  # a transport closes its socket in the next turns of the loop
            await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await read_head(reader)) is not None:
                method, path, headers = head
                length = min(int(headers.get("content-length", 0)), _MOST_BYTES)
                body = await reader.readexactly(length)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    if not await self._respond(writer, method, path, headers, body):
                        return
                finally:
                    self._at_once -= 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client, or the end of the server
        finally:
            writer.close()

    async def _respond(
        self,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> bool:
        """Answer one HTTP request; False if the connection ends with it."""
        if path.endswith("/models"):
            await send(writer, 200, {"object": "list", "data": [{"id": self._model}]})
            return True
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if self._key is not None and given != self._key:
            # As unkind as servers are: they repeat the key.
            await send(writer, 401, _error(f"Incorrect API key provided: {given}", "bad_key"))
            return True
        reply = self.batches.handle(method, path, headers, body)
        if reply is not None:
            return await send_reply(writer, reply)
        if not path.endswith("/completions"):
            await send(writer, 404, _error("no such path", "not_found"))
            return True
        try:
            asked = json.loads(body)
        except ValueError:
            await send(writer, 400, _error("the body is not JSON", "bad_body"))
            return True
        if (refusal := self._refusal(asked)) is not None:
            await send(writer, 400, refusal)
            return True
        self.bodies.append(asked)
        request = _request(asked, headers, is_chat=path.endswith("/chat/completions"))
        behaviour = self._actor.next(request)
        return await self._play(writer, behaviour, request, tool="tools" in asked)

    def _refusal(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        """What is said to a parameter that is not taken, None if all are."""
        for name in self._refuses:
            if name in asked:
                self.refused += 1
                param = name if self._names_refused else None
                what = name if self._names_refused else "this"
                message = f"{what} is not supported by this model"
                return _error(message, "unsupported_parameter", param)
        return None

    def _batched(
        self, asked: Mapping[str, Any], request_id: str, is_chat: bool
    ) -> tuple[str, int, dict[str, Any]]:
        """How a request in a batch is answered: behaviour, HTTP status and body."""
        if (refusal := self._refusal(asked)) is not None:
            return "refused", 400, refusal
        self.bodies.append(dict(asked))
        request = _request(asked, {"idempotency-key": request_id}, is_chat=is_chat)
        behaviour = self._actor.next(request)
        if behaviour in ("rate_limit", "server_error", "unauthorized"):
            return behaviour, 200, _error(self._message, behaviour)
        return behaviour, 200, _completion(behaviour, request, self._model, tool="tools" in asked)

    async def _play(
        self, writer: asyncio.StreamWriter, behaviour: str, request: Request, *, tool: bool
    ) -> bool:
        if behaviour == "hang":
            await self._stop.wait()
            return False
        await asyncio.sleep(self._seconds)
        if behaviour == "rate_limit":
            extra = {} if self._retry_after is None else {"Retry-After": f"{self._retry_after:g}"}
            await send(writer, 429, _error("slow down", "rate_limit_exceeded"), extra)
        elif behaviour == "server_error":
            await send(writer, 500, _error(self._message, "server_error"))
        elif behaviour == "unauthorized":
            await send(writer, 401, _error("no such key", "invalid_api_key"))
        elif behaviour == "not_an_api":
            await write(writer, 200, b"<html><body>Welcome!</body></html>", {}, "text/html")
        else:
            reply = _completion(behaviour, request, self._model, tool=tool)
            if behaviour == "drop":
                half = json.dumps(reply).encode()
                await write(writer, 200, half[: len(half) // 2], {}, length=len(half))
                return False
            await send(writer, 200, reply)
        return True


def _completion(behaviour: str, request: Request, model: str, *, tool: bool) -> dict[str, Any]:
    text, finish_reason = text_of(behaviour, request)
    said: dict[str, Any] = {"text": text}
    if tool:
        call = {"type": "function", "function": {"name": TOOL, "arguments": text}}
        said = {"message": {"role": "assistant", "content": None, "tool_calls": [call]}}
        finish_reason = "tool_calls" if finish_reason == "stop" else finish_reason
    elif request.is_chat:
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
    # The limit is of each of `n` continuations; the grammar writes all of them at once.
    limit = int(asked.get("max_tokens") or asked.get("max_completion_tokens") or 256)
    concepts = tuple(filter(None, (name.strip(" .") for name in named.split(","))))
    return Request(
        index=0,
        id=headers.get("idempotency-key") or digest(dict(asked))[:32],
        messages=messages,
        prompt=prompt,
        concepts=concepts or ("sound",),
        axes={},
        seed=int(asked.get("seed") or 0),
        max_tokens=limit * int(asked.get("n") or 1),
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
