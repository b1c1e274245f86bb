"""Any server that speaks the OpenAI protocol: OpenAI itself, `vllm serve`, llama.cpp, and others.

Chat or completion endpoint, as the request is made. Servers differ in what they take, so what one
refuses by name (structured output, a seed, `max_tokens`) is left out or renamed, once, and
remembered: the first request goes alone until the server's dialect is known. The client's own
retries are off: ours are counted (`retry`). This is the only module of the pipeline that reaches
for a network, and only when the user named this backend.

The key is sent to the server and kept nowhere else: not in an error, a log, a repr or a file.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    RateLimitError,
    RemoteError,
    UnreachableError,
)
from pipeline.llm.address import is_loopback, public_address
from pipeline.llm.base import Answer, AttemptFailed, PromptStyle, join_lines
from pipeline.llm.dialect import Dialect
from prompts.request import Request

if TYPE_CHECKING:
    import openai

DEFAULT_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
NO_KEY = "none"  # what a local server without authentication is sent

TIMEOUT = 120.0  # seconds for an answer
LOCAL_TIMEOUT = 600.0  # a server on this machine may be slow, above all at its first request

_MESSAGE_LENGTH = 200  # characters of a server's message that an error shows
# The status of a request that the server understood and will not take as it is.
_REFUSED = frozenset({400, 415, 422, 501})
_TRANSIENT = frozenset({408, 409, 425, 429})


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
        local = is_loopback(base_url)
        if not api_key and not local:
            raise AuthenticationError(
                "no key for this server",
                where=self.address,
                hint=f"Set the environment variable {KEY_VARIABLE}, or use a model on this "
                "machine: --backend local, or --backend openai --base-url http://127.0.0.1:8000/v1",
            )
        self._secret = api_key or ""
        self._client = _client(
            base_url, api_key or NO_KEY, timeout or (LOCAL_TIMEOUT if local else TIMEOUT), local
        )
        self._dialect = Dialect()
        self._first = asyncio.Lock()

    def __repr__(self) -> str:
        return f"OpenAIBackend(model={self.model!r}, base_url={self.address!r})"

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance."""
        return {
            "backend": self.name,
            "llm": True,
            "base_url": self.address,
            "not_taken_by_server": sorted(self._dialect.dropped),
        }

    async def answer(self, request: Request) -> Answer:
        """Make one attempt; see `base.Backend`."""
        if self._dialect.known:
            return await self._ask(request)
        async with self._first:
            return await self._ask(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, request: Request) -> Answer:
        import openai

        while True:
            sent = self._parameters(request)
            try:
                answer = await self._send(request, sent)
            except openai.APIStatusError as error:
                if error.status_code in _REFUSED:
                    if _filtered(error):
                        return Answer("", "content_filter", 0, 0, self.model)
                    if not self._dialect.known and self._dialect.adapt(error.param, sent):
                        continue
                raise self._status_failure(error) from None
            except openai.APITimeoutError:
                raise self._timed_out() from None
            except openai.APIConnectionError as error:
                raise self._no_connection(error) from None
            except (openai.OpenAIError, ValueError, KeyError, AttributeError, TypeError) as error:
                # A body that is not what the protocol says: cut, HTML, another JSON.
                raise self._not_an_answer(type(error).__name__) from None
            self._dialect.known = True
            return answer

    def _parameters(self, request: Request) -> dict[str, Any]:
        """The optional parameters of a request, in the server's dialect."""
        wanted: dict[str, Any] = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            self._dialect.limit: request.max_tokens,
        }
        if not request.is_chat and request.count > 1:
            # Several continuations of one prompt, each a caption, with its share of the tokens.
            wanted["n"] = request.count
            wanted[self._dialect.limit] = max(1, request.max_tokens // request.count)
        if request.stop:
            wanted["stop"] = list(request.stop)
        if request.is_chat and request.schema is not None:
            wanted["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "captions", "schema": request.schema, "strict": True},
            }
        return {name: value for name, value in wanted.items() if name not in self._dialect.dropped}

    async def _send(self, request: Request, parameters: dict[str, Any]) -> Answer:
        # Where a gateway honours it, an attempt that was answered after we lost patience is not
        # charged again.
        headers = {"Idempotency-Key": request.id}
        client: Any = self._client
        if request.is_chat:
            reply = await client.chat.completions.create(
                model=self.model,
                messages=list(request.messages),
                extra_headers=headers,
                **parameters,
            )
            message = reply.choices[0].message
            said = [(message.content or message.refusal or "", str(reply.choices[0].finish_reason))]
        else:
            reply = await client.completions.create(
                model=self.model, prompt=request.prompt, extra_headers=headers, **parameters
            )
            said = [(choice.text or "", str(choice.finish_reason)) for choice in reply.choices]
        text, finish_reason = join_lines(said)
        return Answer(
            text=self._mask(text),
            finish_reason=finish_reason,
            prompt_tokens=reply.usage.prompt_tokens if reply.usage else 0,
            completion_tokens=reply.usage.completion_tokens if reply.usage else 0,
            model=str(reply.model or self.model),
        )

    def _status_failure(self, error: openai.APIStatusError) -> Exception:
        status, message = error.status_code, self._message(error)
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
                hint="Run the same command later, or with a smaller --concurrency",
            )
            if error.code == "insufficient_quota":
                return limited
            return AttemptFailed("rate_limit", limited, retry_after=_retry_after(error))
        if status >= 500 or status in _TRANSIENT:
            failed = RemoteError(
                "the server failed",
                where=self.address,
                found=f"HTTP {status}: {message}",
                hint="Run the same command later: what was answered is kept",
            )
            return AttemptFailed("server_error", failed, retry_after=_retry_after(error))
        return BadAnswerError(
            "the server refuses the request",
            where=self.address,
            found=f"HTTP {status}: {message}",
            hint="Check --model and --base-url" if status == 404 else None,
        )

    def _timed_out(self) -> AttemptFailed:
        error = UnreachableError(
            "the server did not answer in time",
            where=self.address,
            hint="Run the same command again, with a larger --timeout or a smaller --concurrency",
        )
        return AttemptFailed("timeout", error, may_cost=True)

    def _no_connection(self, error: openai.APIConnectionError) -> Exception:
        reason = type(error.__cause__ or error).__name__
        unreachable = UnreachableError(
            "no connection to the server",
            where=self.address,
            found=reason,
            hint="Start it, or use what is on this machine: --backend local (a small model), "
            "--backend grammar (no model at all)",
        )
        refused = reason.startswith("Connect")
        if refused and not self._dialect.known:
            # A server that was never there will not come; one that was may be starting again.
            return unreachable
        return AttemptFailed("no_connection", unreachable, may_cost=not refused)

    def _not_an_answer(self, found: str) -> AttemptFailed:
        error = BadAnswerError(
            "the server's answer does not follow the protocol",
            where=self.address,
            found=found,
            hint="Is this the address of an OpenAI-compatible API? It usually ends in /v1",
        )
        return AttemptFailed("not_an_answer", error, may_cost=True)

    def _message(self, error: openai.APIStatusError) -> str:
        body = error.body if isinstance(error.body, dict) else {}
        text = str(body.get("message") or error.message)
        return self._mask(" ".join(text.split()))[:_MESSAGE_LENGTH]

    def _mask(self, text: str) -> str:
        return text.replace(self._secret, "***") if self._secret else text


def _client(base_url: str, key: str, timeout: float, local: bool) -> openai.AsyncOpenAI:
    import openai

    # A proxy of the environment is for the world outside, not for this machine.
    transport = openai.DefaultAsyncHttpxClient(trust_env=False) if local else None
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=key,
        max_retries=0,
        timeout=openai.Timeout(timeout, connect=10.0),
        http_client=transport,
    )


def _filtered(error: openai.APIStatusError) -> bool:
    """Whether a provider's content filter refused: an answer of a kind, not a failure."""
    return error.code in ("content_filter", "content_policy_violation")


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds that a server asked to wait; the form with a date is left to our own back-off."""
    with contextlib.suppress(KeyError, ValueError):
        seconds = float(error.response.headers["retry-after"])
        return seconds if seconds >= 0 else None
    return None
