"""Group commit: while one transaction is on its way to the disk, the next one gathers.

The disk takes some milliseconds for a commit, whatever is in it. So nobody commits alone: all that
was begun, answered or failed meanwhile is one transaction, and each waits only for its own. Under
load, transactions grow; when little happens, nothing waits for company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from cache_store.errors import LqtseError
from pipeline.ledger import Ledger
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.base import Answer


class Committing(Protocol):
    """Who writes to a ledger for many tasks; see `Commits`."""

    error: LqtseError | None

    def begin(self, request_id: str, worst: Amount) -> asyncio.Future[int]: ...
    def fail(self, attempt: int, outcome: str, taken: Amount = NOTHING) -> asyncio.Future[None]: ...
    def store(
        self, attempt: int, request_id: str, answer: Answer, usd: float | None
    ) -> asyncio.Future[None]: ...
    async def flush(self) -> None: ...


class Commits:
    """Writes to a ledger from many tasks of one event loop.

    Args:
        ledger: Where they go.

    Attributes:
        error: Why something could not be written; nothing is written after it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._gathered: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._writer: asyncio.Task[None] | None = None
        self.error: LqtseError | None = None

    def begin(self, request_id: str, worst: Amount) -> asyncio.Future[int]:
        """Mark an attempt as in flight; its number, once that is on the disk."""
        return self._add(lambda: self._ledger.write_begin(request_id, worst))

    def fail(self, attempt: int, outcome: str, taken: Amount = NOTHING) -> asyncio.Future[None]:
        """Mark an attempt as failed; need not be waited for, since until then it counts as open."""
        return self._add(lambda: self._ledger.write_fail(attempt, outcome, taken))

    def store(
        self, attempt: int, request_id: str, answer: Answer, usd: float | None
    ) -> asyncio.Future[None]:
        """Keep an answer; done once it is on the disk."""
        return self._add(lambda: self._ledger.write_answer(attempt, request_id, answer, usd))

    async def flush(self) -> None:
        """Wait until all that was gathered is on the disk, or cannot be."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    def _add(self, write: Callable[[], Any]) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        done.add_done_callback(_seen)
        if self.error is not None:
            done.set_exception(self.error)
            return done
        self._gathered.append((write, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return done

    async def _write(self) -> None:
        try:
            while self._gathered:
                writes, self._gathered = self._gathered, []
                try:
                    results = await self._ledger.transactions.together([one for one, _ in writes])
                except LqtseError as error:
                    self.error = error
                    writes += self._gathered
                    self._gathered = []
                    for _, done in writes:
                        if not done.done():
                            done.set_exception(error)
                    return
                for (_, done), result in zip(writes, results, strict=True):
                    if not done.done():
                        done.set_result(result)
        finally:
            self._writer = None


def _seen(done: asyncio.Future[Any]) -> None:
    """Who does not wait for a write learns of its failure from `error`."""
    if not done.cancelled():
        done.exception()
