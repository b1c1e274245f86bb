"""What every language model looks like to the pipeline: one method that answers one request.

A backend makes exactly one attempt a call. It never retries, never waits to be polite and never
writes anything: retries are counted by `retry`, answers are kept by the ledger. A failed attempt
is an `AttemptFailed` when the same request may succeed later, and an error of `cache_store.errors`
when it never will.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from cache_store.errors import RemoteError
from prompts.request import Request

PromptStyle = Literal["chat", "completion"]

# JSON can spell half a surrogate pair, which no file and no database can hold.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

CUT = "length"  # finish reason of an answer that ran into its token limit


@dataclass(frozen=True)
class Answer:
    """What a model said to one request; half of a surrogate pair in it becomes U+FFFD.

    Attributes:
        text: The answer as it came; JSON, a list of lines or anything else.
        finish_reason: Why it ended: "stop", "length", "content_filter" or a server's own word.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        model: The model as the server names it.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    model: str

    def __post_init__(self) -> None:
        for name in ("text", "finish_reason", "model"):
            object.__setattr__(self, name, _LONE_SURROGATE.sub("\ufffd", getattr(self, name)))


def join_lines(continuations: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Join several continuations of one prompt into the text of one answer.

    One that was cut comes last, where a cut is expected; further ones that were cut are left out,
    since nothing in a joined text could mark them.

    Args:
        continuations: Text and finish reason of each.

    Returns:
        Text and finish reason.
    """
    whole = [text for text, reason in continuations if reason != CUT]
    cut = [text for text, reason in continuations if reason == CUT]
    reason = CUT if cut else next((reason for _, reason in continuations), "stop")
    return "\n".join(text.strip("\n") for text in (*whole, *cut[:1])), reason


class Model(Protocol):
    """What a cache remembers of a language model.

    Attributes:
        name: How the command line calls it ("openai").
        model: What captions and request ids are recorded under.
        style: Which form of a request it reads.
        uses_llm: False when no language model is involved.
        offline: True when nothing leaves this machine, and nothing is paid.
    """

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def style(self) -> PromptStyle: ...
    @property
    def uses_llm(self) -> bool: ...
    @property
    def offline(self) -> bool: ...

    def describe(self) -> dict[str, Any]:
        """Settings for the cache's provenance: JSON values, and never a secret."""
        ...

    async def aclose(self) -> None:
        """Give back connections, threads and models."""
        ...


@runtime_checkable
class Backend(Model, Protocol):
    """A language model that answers one request at a time."""

    async def answer(self, request: Request) -> Answer:
        """Make one attempt.

        Raises:
            AttemptFailed: If the same request may succeed later.
            RemoteError: If it will not.
        """
        ...


class AttemptFailed(Exception):
    """One attempt failed, and the next may not.

    Args:
        outcome: One word for the ledger ("rate_limit", "server_error", "timeout").
        error: What to tell the user if no attempt succeeds.
        retry_after: Seconds that the server asked to wait, None if it did not say.
        may_cost: Whether the server may have charged for it, as after a timeout.
    """

    def __init__(
        self,
        outcome: str,
        error: RemoteError,
        *,
        retry_after: float | None = None,
        may_cost: bool = False,
    ) -> None:
        super().__init__(error.message)
        self.outcome = outcome
        self.error = error
        self.retry_after = retry_after
        self.may_cost = may_cost
