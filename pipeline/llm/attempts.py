"""One request's attempts, as the ledger and the budget see them.

Each is marked in the ledger before it is sent, so what was in flight at a death is known. Once the
owner is ending, no further one begins: the task that would send it is cancelled from within.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.base import AttemptFailed
from pipeline.llm.commits import Committing
from pipeline.llm.prices import Budget
from pipeline.llm.retry import AttemptLog
from pipeline.llm.source import Traffic
from prompts.request import Request


class Owner(Protocol):
    """Who sends requests: the dispatcher."""

    commits: Committing
    budget: Budget
    traffic: Traffic
    room: asyncio.Semaphore

    @property
    def ending(self) -> bool: ...

    def run_out(self) -> None:
        """Nothing is left to spend on an attempt that would have to be made again."""
        ...


class Attempts(AttemptLog):
    """The attempts of one request.

    Args:
        owner: Who sends them.
        request: What is asked.
        reserved: The most that one attempt can take, set aside in the budget.

    Attributes:
        held: What is set aside in the budget for it now.
        current: The ledger's number of the current attempt.
        marked: Whether the ledger has the current attempt as in flight.
        sent: Whether it was sent; before that, it waits for its turn.
        answered: Whether it has an answer, which is on its way to the ledger or there.
    """

    def __init__(self, owner: Owner, request: Request, reserved: Amount) -> None:
        self._owner = owner
        self._request = request
        self._worst = self.held = reserved
        self.current = 0
        self.marked, self.sent, self.answered = False, False, False
        self._inside = False

    async def begin(self) -> None:
        """Mark the next attempt, right before it is sent; on the disk when this returns.

        The first attempt then waits for room among those in flight, and keeps its place until
        `leave`: from the first sending to the answer, waits between attempts too.
        """
        self._leave_if_ending()
        if self.held == NOTHING and self._worst != NOTHING:
            if not self._owner.budget.reserve(self._worst):
                self._owner.run_out()
                raise asyncio.CancelledError
            self.held = self._worst
        mark = self._owner.commits.begin(self._request.id, self._worst)
        try:
            self.current = await asyncio.shield(mark)
        except asyncio.CancelledError:
            mark.add_done_callback(self._unmark)
            raise
        self.marked = True
        self._leave_if_ending()
        if not self._inside:
            await self._owner.room.acquire()
            self._inside = True
            self._leave_if_ending()
        self.sent = True

    def take_back(self) -> None:
        """Unmark the current attempt, which was not sent; its place among those in flight stays."""
        self._owner.commits.fail(self.current, "cancelled")
        self.marked = self.sent = False

    def leave(self) -> None:
        """Make room for another request; harmless if there is nothing to leave."""
        if self._inside:
            self._inside = False
            self._owner.room.release()

    def fail(self, failure: AttemptFailed) -> None:
        """Mark the current attempt as failed, and count what it may have taken."""
        taken = self._worst if failure.may_cost else NOTHING
        self._owner.commits.fail(self.current, failure.outcome, taken)
        # What it may have taken is spent; a further attempt has to find room of its own.
        self._owner.budget.settle(taken, taken)
        self.held -= taken
        self._owner.traffic.usd += taken.usd
        self._owner.traffic.retries += 1
        self.marked = self.sent = False
        self._leave_if_ending()

    def close(self, *, free: bool) -> None:
        """End without an answer; what was sent may still be paid for, unless it is `free`."""
        if self.marked and (free or not self.sent):
            self._owner.commits.fail(self.current, "cancelled")
            self.marked = False

    def _unmark(self, mark: asyncio.Future[int]) -> None:
        if not mark.cancelled() and mark.exception() is None:
            self._owner.commits.fail(mark.result(), "cancelled")

    def _leave_if_ending(self) -> None:
        if self._owner.ending:
            raise asyncio.CancelledError
