"""Where a run gets its answers from: the seam between `generate` and whoever asks.

`dispatch.Dispatcher` asks a backend request by request; others may hand a whole batch over and wait
for a day. A run needs of them only what stands here: results in plan order, a way to stop, and
counts to show.

What every source promises: an answer is in the ledger before it is handed on; what the ledger has
is not asked again; a request that failed for good is in the ledger as given up before it is handed
on as `Unanswered`; money and tokens are set aside in the budget before anything is sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pipeline.llm.base import Answer
from prompts.request import Request

if TYPE_CHECKING:
    from pipeline.examine import Examined
    from pipeline.ledger import Ledger
    from pipeline.llm.prices import Budget

End = Literal["", "stopped", "budget", "waiting"]


@dataclass(frozen=True)
class Answered:
    """A request and its answer.

    Attributes:
        request: What was asked.
        answer: What came back.
        replayed: True when it was in the ledger before.
        examined: What it holds, where that was found out already; request and answer then lack
            what nobody needs any more (messages and text).
    """

    request: Request
    answer: Answer
    replayed: bool
    examined: Examined | None = None


@dataclass(frozen=True)
class Unanswered:
    """A request that failed for good, though others do not: all its attempts are spent.

    Attributes:
        request: What was asked.
        reason: The outcome of its last attempt, in a word ("timeout").
        replayed: True when the ledger knew it before.
    """

    request: Request
    reason: str
    replayed: bool


Result = Answered | Unanswered


@dataclass
class Traffic:
    """Counts to show while it runs.

    Attributes:
        in_flight: Requests sent and not answered.
        asked: Requests answered by the backend.
        replayed: Requests answered by the ledger.
        retries: Attempts that failed, the last ones of a request included.
        failed: Requests that got no answer, after all their attempts.
        prompt_tokens: Tokens read, by answers of this run.
        completion_tokens: Tokens written, by answers of this run.
        usd: Cost of this run, as far as it is known.
        waiting: What is waited for, in words, where it takes long; else "".
    """

    in_flight: int = 0
    asked: int = 0
    replayed: int = 0
    retries: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    waiting: str = ""


class AnswerSource(Protocol):
    """Brings the results of a plan.

    Attributes:
        traffic: Counts so far.
        end: Why `stream` ended before the caller left: "stopped", "budget", "waiting" (what was
            sent takes long, and a later run collects it) or "".
    """

    @property
    def traffic(self) -> Traffic: ...
    @property
    def end(self) -> End: ...

    async def prepare(self, first: int) -> None:
        """Do what takes time before the first request can be sent, such as starting processes.

        Args:
            first: Position that `stream` will begin with.
        """
        ...

    def stream(self, first: int, ahead: Callable[[], int]) -> AsyncGenerator[Result, None]:
        """Yield results in plan order until the caller leaves, a stop, or a spent budget.

        The caller closes it (`contextlib.aclosing`).

        Args:
            first: Position to begin with.
            ahead: How many further results the caller expects to need, asked again and again, so
                that little is paid for what nobody will use.

        Raises:
            LqtseError: What would meet every request, or the ledger; raised after all results
                before it were handed on.
        """
        ...

    def stop(self) -> None:
        """Send no more; `stream` ends after what is in flight has had its moment."""
        ...


@dataclass(frozen=True)
class Job:
    """What a source works on.

    Attributes:
        request: The request at a position.
        ledger: Where answers are, and where new ones are kept.
        budget: What may be spent.
        plan: The plan's key in the provenance (16 hex), for whoever has to find it again.
        length: Positions that there are; None for a plan without an end. At its end, `stream` ends.
        changed: Called whenever `traffic` changed while nothing is handed on.
    """

    request: Callable[[int], Request]
    ledger: Ledger
    budget: Budget
    plan: str
    length: int | None = None
    changed: Callable[[], None] = lambda: None


OpenSource = Callable[[Job], AnswerSource]
