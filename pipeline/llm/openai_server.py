"""Any server that speaks the OpenAI protocol: OpenAI itself, vLLM's, llama.cpp's, and others.

Chat or completion endpoint, as the request is made. Servers differ in what they take, so what one
refuses (a form of structured output, a seed, `max_tokens`) is left out or renamed, once, and
remembered (`dialect`): the first request goes alone until the server's dialect is known. Nothing is
retried here: retries are counted (`retry`). Only when the user named this backend does anything
reach for a network.

The key is sent to the server and kept nowhere else: not in an error, a log, a repr or a file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    RateLimitError,
    RemoteError,
    UnreachableError,
)
from pipeline.llm.address import is_loopback, public_address
from pipeline.llm.base import Answer, AttemptFailed, PromptStyle
from pipeline.llm.dialect import Dialect
from pipeline.llm.replies import (
    Fault,
    FaultInAnswer,
    NotAnAnswer,
    read_answer,
    read_fault,
    read_wait,
)
from pipeline.llm.transport import NoReply, Reply, Transport
from prompts.request import Request

DEFAULT_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
NO_KEY = "none"  # what a local server without authentication is sent

TIMEOUT = 120.0  # seconds for an answer
LOCAL_TIMEOUT = 600.0  # a server on this machine may be slow, above all at its first request

_MESSAGE_LENGTH = 200  # characters of a server's message that an error shows
# The status of a request that the server understood and will not take as it is.
_REFUSED = frozenset({400, 415, 422, 501})
_TRANSIENT = frozenset({408, 409, 425})
_SHORTEST_SECRET = 6  # characters; masking a shorter one in answers would maim them


class OpenAIBackend:
    """A client of one model on one server.

    Args:
        model: Its name, as the server knows it.
        base_url: The server's address with its version ("http://127.0.0.1:8000/v1").
        api_key: The key; None where a server on this machine needs none.
        style: Which form of request the model reads.
        timeout: Seconds for one answer; by default 120, and 600 on this machine.

    Raises:
        AuthenticationError: If there is no key for a server that is not on this machine.
        UsageError: If the address is not one.
    """

    name = "openai"
    uses_llm = True
    offline = False

    def __init__(
        self,
        model: str,
        *,
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        style: PromptStyle = "chat",
        timeout: float | None = None,
    ) -> None:
        self.model = model
        self.style = style
        self.address = public_address(base_url)
        local, password = is_loopback(base_url), urlsplit(base_url).password
        if not api_key and not password and not local:
            raise AuthenticationError(
                "no key for this server",
                where=self.address,
                hint=f"Set the environment variable {KEY_VARIABLE}, or use a model on this "
                "machine: --backend local, or --backend openai --base-url http://127.0.0.1:8000/v1",
            )
        secrets = (api_key, password, unquote(password or ""))
        self._secrets = tuple(secret for secret in secrets if secret)
        self._transport = Transport(
            base_url,
            key=api_key or NO_KEY,
            timeout=timeout or (LOCAL_TIMEOUT if local else TIMEOUT),
        )
        self.dialect = Dialect()
        self._first = asyncio.Lock()

    def __repr__(self) -> str:
        return f"OpenAIBackend(model={self.model!r}, base_url={self.address!r})"

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance, from which a later run recalls the dialect."""
        return {
            "backend": self.name,
            "llm": True,
            "base_url": self.address,
            "dialects": {self.address: self.dialect.memory()},
        }

    def recall(self, dialects: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin with what an earlier run learnt; see `dialect.Learner`."""
        if (kept := dialects.get(self.address)) is not None:
            self.dialect = Dialect.recalled(kept)

    async def answer(self, request: Request) -> Answer:
        """Make one attempt; see `base.Backend`."""
        if not self.dialect.known:
            async with self._first:
                # Who waited for the first need not go alone.
                if not self.dialect.known:
                    return await self._ask(request)
        return await self._ask(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _ask(self, request: Request) -> Answer:
        while True:
            sent = self.dialect.parameters(request)
            reply = await self._send(request, sent)
            if 200 <= reply.status < 300:
                answer = self._read(reply, request)
                self.dialect.known = True
                return answer
            fault = read_fault(reply.body)
            if reply.status in _REFUSED:
                if fault.filtered:
                    return Answer("", "content_filter", 0, 0, self.model)
                if not self.dialect.known and self.dialect.adapt(fault.param, fault.message, sent):
                    continue
            raise self._failure(reply.status, fault, read_wait(reply.headers))

    async def _send(self, request: Request, parameters: Mapping[str, Any]) -> Reply:
        path = "/chat/completions" if request.is_chat else "/completions"
        asked = {"messages": request.messages} if request.is_chat else {"prompt": request.prompt}
        body = json.dumps({"model": self.model, **asked, **parameters})
        # Where a gateway honours it, an attempt that was answered after we lost patience is not
        # charged again.
        headers = {"Idempotency-Key": request.id}
        try:
            return await self._transport.post(path, body.encode(), headers)
        except NoReply as error:
            raise self._no_reply(error) from None

    def _read(self, reply: Reply, request: Request) -> Answer:
        try:
            answer = read_answer(reply.body, chat=request.is_chat, model=self.model)
        except FaultInAnswer as error:
            raise self._failure(500, error.fault, read_wait(reply.headers)) from None
        except NotAnAnswer as error:
            wrong = BadAnswerError(
                "the server's answer does not follow the protocol",
                where=self.address,
                found=str(error),
                hint="Is this the address of an OpenAI-compatible API? It usually ends in /v1",
            )
            raise AttemptFailed("not_an_answer", wrong, may_cost=True) from None
        text = self._mask(answer.text, shortest=_SHORTEST_SECRET)
        return answer if text == answer.text else replace(answer, text=text)

    def _failure(self, status: int, fault: Fault, wait: float | None) -> Exception:
        message = self._shown(fault.message)
        if status in (401, 403):
            # Servers like to repeat the key in this message, so it is not shown.
            return AuthenticationError(
                "the key was refused",
                where=self.address,
                found=f"HTTP {status}",
                hint=f"Check {KEY_VARIABLE}, and that it may use {self.model}",
            )
        if status == 429:
            limited = RateLimitError(
                "the server says: too many requests",
                where=self.address,
                found=message,
                hint="Run the same command later, with a smaller --concurrency, or with --rpm",
            )
            if fault.code == "insufficient_quota":
                return limited
            return AttemptFailed("rate_limit", limited, retry_after=wait)
        if status >= 500 or status in _TRANSIENT:
            failed = RemoteError(
                "the server failed",
                where=self.address,
                found=f"HTTP {status}: {message}",
                hint="Run the same command later: what was answered is kept",
            )
            return AttemptFailed("server_error", failed, retry_after=wait)
        return BadAnswerError(
            "the server refuses the request",
            where=self.address,
            found=f"HTTP {status}: {message}",
            hint="Check --model and --base-url" if status == 404 or status < 400 else None,
        )

    def _no_reply(self, error: NoReply) -> Exception:
        if error.kind == "timeout":
            late = UnreachableError(
                "the server did not answer in time",
                where=self.address,
                hint="Run the same command again, with a larger --timeout or a smaller "
                "--concurrency",
            )
            return AttemptFailed("timeout", late, may_cost=True)
        unreachable = UnreachableError(
            "no connection to the server",
            where=self.address,
            found=error.reason,
            hint="Start it, or use what is on this machine: --backend local (a small model), "
            "--backend grammar (no model at all)",
        )
        refused = error.kind == "refused"
        if refused and not self.dialect.known:
            # A server that was never there will not come; one that was may be starting again.
            return unreachable
        return AttemptFailed("no_connection", unreachable, may_cost=not refused)

    def _shown(self, message: str) -> str:
        """A server's message, fit to be shown: short, and without the key."""
        return self._mask(" ".join(message.split()))[:_MESSAGE_LENGTH]

    def _mask(self, text: str, *, shortest: int = 1) -> str:
        for secret in self._secrets:
            if len(secret) >= shortest:
                text = text.replace(secret, "***")
        return text
