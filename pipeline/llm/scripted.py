"""A language model that does what you tell it to: for trying a set-up, and for tests.

A script says how the model behaves at each call: a list of behaviours that is repeated without end,
or a function of the call. The same script drives `ScriptedBackend` (in the process, `--backend
scripted`) and `scripted_server.ScriptedServer` (a real server on this machine).

    good          captions as asked for, from the grammar of `prompts`
    duplicates    the same caption again and again
    refusal       "I'm sorry, but I can't ..."
    filtered      nothing: the provider's content filter was in the way
    garbage       text that is no JSON and no list
    cut           a good answer that ends in the middle, as at a token limit
    rate_limit    HTTP 429
    server_error  HTTP 500
    unauthorized  HTTP 401
    hang          no answer at all
    drop          the connection ends in the middle of the answer
    not_an_api    HTTP 200 with a web page
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    RateLimitError,
    RemoteError,
    UnreachableError,
    UsageError,
)
from pipeline.llm.base import CUT, Answer, AttemptFailed, PromptStyle
from prompts.request import Request

BEHAVIOURS: Final = (
    "good",
    "duplicates",
    "refusal",
    "filtered",
    "garbage",
    "cut",
    "rate_limit",
    "server_error",
    "unauthorized",
    "hang",
    "drop",
    "not_an_api",
)
REFUSAL = "I'm sorry, but I can't help with that request."
GARBAGE = "<<< %PDF-1.4 \x07 0xDEADBEEF ]]}"
DUPLICATE = "a dog barks twice in the yard"
_LETTERS = 4  # of a token, as in English


@dataclass(frozen=True)
class Call:
    """One call of the model.

    Attributes:
        number: Calls before it, of any request.
        attempt: Calls before it, of the same request.
        request: What is asked.
    """

    number: int
    attempt: int
    request: Request


Script = Sequence[str] | Callable[[Call], str]


class Actor:
    """Plays a script: decides the behaviour of each call, and counts them.

    Args:
        script: Behaviours to repeat without end, or a function of the call.

    Attributes:
        calls: Calls so far, by request id.

    Raises:
        UsageError: If a behaviour of a list is not known.
    """

    def __init__(self, script: Script = ("good",)) -> None:
        if not callable(script):
            for name in script:
                _check(name)
            if not script:
                raise UsageError("a script without behaviours", expected=", ".join(BEHAVIOURS))
        self._script = script
        self._number = 0
        self.calls: Counter[str] = Counter()

    def next(self, request: Request) -> str:
        """The behaviour of the next call."""
        call = Call(self._number, self.calls[request.id], request)
        self._number += 1
        self.calls[request.id] += 1
        if callable(self._script):
            name = self._script(call)
            _check(name)
            return name
        return self._script[call.number % len(self._script)]


def text_of(behaviour: str, request: Request) -> tuple[str, str]:
    """Return what a model of this behaviour says, and its finish reason."""
    if behaviour == "refusal":
        return REFUSAL, "stop"
    if behaviour == "filtered":
        return "", "content_filter"
    if behaviour == "garbage":
        return GARBAGE, "stop"
    if behaviour == "duplicates":
        return _wrapped([DUPLICATE] * request.count, request), "stop"
    from prompts import grammar

    good = grammar.answer(request)
    if behaviour == "cut":
        return good[: len(good) * 2 // 3], CUT
    room = _LETTERS * request.max_tokens
    return (good, "stop") if len(good) <= room else (good[:room], CUT)


def tokens_of(text: str) -> int:
    """A token count to report: one for every four letters, as in English."""
    return (len(text) + _LETTERS - 1) // _LETTERS


class ScriptedBackend:
    """A fake model in the process.

    Args:
        script: How it behaves; see `Actor`.
        model: What it calls itself.
        style: Which form of request it reads.
        seconds: How long an answer takes.
        patience: How long a call that hangs takes to time out, in seconds.
    """

    name = "scripted"
    uses_llm = False
    offline = True

    def __init__(
        self,
        script: Script = ("good",),
        *,
        model: str = "scripted",
        style: PromptStyle = "chat",
        seconds: float = 0.0,
        patience: float = 1.0,
    ) -> None:
        self.model = model
        self.style = style
        self.actor = Actor(script)
        self._seconds = seconds
        self._patience = patience

    async def answer(self, request: Request) -> Answer:
        """Make one attempt; see `base.Backend`."""
        behaviour = self.actor.next(request)
        await asyncio.sleep(self._patience if behaviour == "hang" else self._seconds)
        if (failure := _failure(behaviour)) is not None:
            raise failure
        text, finish_reason = text_of(behaviour, request)
        asked = request.prompt + "".join(message["content"] for message in request.messages)
        return Answer(text, finish_reason, tokens_of(asked), tokens_of(text), self.model)

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance."""
        return {"backend": self.name, "llm": False}

    async def aclose(self) -> None:
        """Nothing to give back."""


def _check(name: str) -> None:
    if name not in BEHAVIOURS:
        raise UsageError(
            "unknown behaviour in a script", expected=", ".join(BEHAVIOURS), found=repr(name)
        )


def _wrapped(captions: Sequence[str], request: Request) -> str:
    import json

    if request.schema is not None:
        return json.dumps({"captions": list(captions)})
    return "\n".join(captions)


def _failure(behaviour: str) -> Exception | None:
    where = "the scripted model"
    if behaviour == "unauthorized":
        return AuthenticationError("the key was refused", where=where)
    transient: dict[str, tuple[str, RemoteError]] = {
        "rate_limit": ("rate_limit", RateLimitError("too many requests", where=where)),
        "server_error": ("server_error", RemoteError("the server failed", where=where)),
        "hang": ("timeout", UnreachableError("no answer in time", where=where)),
        "drop": ("no_connection", UnreachableError("the connection was lost", where=where)),
        "not_an_api": ("not_an_answer", BadAnswerError("not an answer", where=where)),
    }
    if behaviour not in transient:
        return None
    outcome, error = transient[behaviour]
    return AttemptFailed(outcome, error, may_cost=behaviour in ("hang", "drop", "not_an_api"))
