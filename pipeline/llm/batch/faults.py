"""What goes wrong between us and a server with the Batch API, as errors of ours.

A call that may succeed later becomes `AttemptFailed`, one that never will an error of
`cache_store.errors`. The client's own errors carry what the server sent, the key included where it
repeats it, so they are never chained to ours.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    RateLimitError,
    RemoteError,
    UnreachableError,
)
from pipeline.llm.base import AttemptFailed
from pipeline.llm.openai_server import KEY_VARIABLE

if TYPE_CHECKING:
    import openai

_MESSAGE_LENGTH = 200  # characters of a server's message that an error shows
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})


class NotThere(Exception):
    """The server has no batch or file of this name."""


class Faults:
    """Translates the errors of the openai package.

    Args:
        address: The server's address, fit to be shown.
        secret: The key, "" if there is none.
    """

    def __init__(self, address: str, secret: str) -> None:
        self._address = address
        self._secret = secret

    @cached_property
    def caught(self) -> tuple[type[Exception], ...]:
        """What a call may raise: the package's errors, those of the HTTP library, which pass
        while a file is read, and those of a body that is not what the protocol says.
        """
        import openai

        # openai changed its HTTP library with version 3.
        http = import_module("httpx2" if find_spec("httpx2") else "httpx")
        strange = (ValueError, AttributeError, TypeError)
        return (openai.OpenAIError, http.HTTPError, OSError, *strange)

    def translated(self, error: Exception) -> Exception:
        """Return what to raise for one of `caught`; an error of ours as it is."""
        import openai

        if isinstance(error, AttemptFailed):
            return error
        if isinstance(error, openai.APIStatusError):
            return self._status(error)
        strange = isinstance(error, openai.OpenAIError | ValueError | AttributeError | TypeError)
        if strange and not isinstance(error, openai.APIConnectionError):
            wrong = BadAnswerError(
                "the server's answer does not follow the protocol",
                where=self._address,
                found=type(error).__name__,
                hint="Does this server have the Batch API (/v1/files and /v1/batches)?",
            )
            return AttemptFailed("not_an_answer", wrong)
        unreachable = UnreachableError(
            "no connection to the server",
            where=self._address,
            found=type(error.__cause__ or error).__name__,
            hint="Run the same command later: batches go on without us",
        )
        return AttemptFailed("no_connection", unreachable)

    def shown(self, words: str) -> str:
        """A server's words, fit to be shown: short, and without the key."""
        words = " ".join(words.split())
        words = words.replace(self._secret, "***") if self._secret else words
        return words[:_MESSAGE_LENGTH]

    def _status(self, error: openai.APIStatusError) -> Exception:
        body = error.body if isinstance(error.body, dict) else {}
        status, message = error.status_code, self.shown(str(body.get("message") or error.message))
        if status in (401, 403):
            # Servers like to repeat the key in this message, so it is not shown.
            return AuthenticationError(
                "the key was refused",
                where=self._address,
                found=f"HTTP {status}",
                hint=f"Check {KEY_VARIABLE}, and that it may use files and batches",
            )
        path = str(error.request.url.path)
        if status == 404 and ("/batches/" in path or "/files/" in path):
            return NotThere(message)
        if error.code == "insufficient_quota":
            return RateLimitError(
                "the account is empty",
                where=self._address,
                found=message,
                hint="Run the same command when it is filled: what was answered is kept",
            )
        if status >= 500 or status in _TRANSIENT_STATUS:
            failed = RemoteError(
                "the server failed",
                where=self._address,
                found=f"HTTP {status}: {message}",
                hint="Run the same command later: batches go on without us",
            )
            return AttemptFailed("server_error", failed, retry_after=_retry_after(error))
        return BadAnswerError(
            "the server refuses",
            where=self._address,
            found=f"HTTP {status}: {message}",
            hint="Does this server have the Batch API (/v1/files and /v1/batches)? "
            "If not, use --backend openai",
        )


def _retry_after(error: openai.APIStatusError) -> float | None:
    with suppress(KeyError, ValueError):
        return max(0.0, float(error.response.headers["retry-after"]))
    return None
