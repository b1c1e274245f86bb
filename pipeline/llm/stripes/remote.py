"""The worker's ends of the ledger: it reads the file itself, and has the parent write.

Only what was there before a run is read: what a run adds to one stripe concerns no other.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cache_store.errors import LqtseError
from pipeline.ledger import Ledger
from pipeline.ledger_format import told
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.base import Answer

Tell = Callable[[Any], None]
Write = tuple[Any, ...]  # ("begin" | "fail" | "answer", and the arguments of the ledger's method)

_PATIENCE = 60.0  # seconds to wait for a lock, which a journal of the old kind needs for writing


class RemoteLedger(Ledger):
    """A ledger that is read here and written by the parent.

    Args:
        path: The file.
        plan: Key of the plan.
        tell: Sends a message to the parent; messages arrive in order.
    """

    def __init__(self, path: Path, plan: str, tell: Tell) -> None:
        with told(path):
            connection = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE)
        super().__init__(path, connection, plan)
        self._tell = tell

    def give_up(self, requests: Iterable[tuple[str, str]]) -> None:
        """Have requests recorded as given up, before anything that is told after this."""
        self._tell(("give up", list(requests)))


class RemoteCommits:
    """`commits.Commits`, by way of the parent, who gathers what comes while the disk is busy.

    Args:
        tell: Sends a message to the parent.

    Attributes:
        error: Why something could not be written; nothing is written after it.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._gathered: list[tuple[Write, asyncio.Future[Any]]] = []
        self._sent: deque[list[asyncio.Future[Any]]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self.error: LqtseError | None = None

    def begin(self, request_id: str, worst: Amount) -> asyncio.Future[int]:
        """Mark an attempt as in flight; its number, once that is on the disk."""
        return self._add(("begin", request_id, worst))

    def fail(self, attempt: int, outcome: str, taken: Amount = NOTHING) -> asyncio.Future[None]:
        """Mark an attempt as failed."""
        return self._add(("fail", attempt, outcome, taken))

    def store(
        self, attempt: int, request_id: str, answer: Answer, usd: float | None
    ) -> asyncio.Future[None]:
        """Keep an answer; done once it is on the disk."""
        return self._add(("answer", attempt, request_id, answer, usd))

    async def flush(self) -> None:
        """Wait until all that was gathered is on the disk, or cannot be."""
        await self._idle.wait()

    def wrote(self, results: Sequence[Any]) -> None:
        """The oldest bundle that was sent is on the disk.

        Args:
            results: One for each write.
        """
        for done, result in zip(self._sent.popleft(), results, strict=True):
            if not done.done():
                done.set_result(result)
        if not (self._sent or self._gathered):
            self._idle.set()

    def failed(self, error: LqtseError) -> None:
        """Nothing can be written any more."""
        self.error = error
        waiting = [*chain.from_iterable(self._sent), *(done for _, done in self._gathered)]
        self._sent.clear()
        self._gathered = []
        for done in waiting:
            if not done.done():
                done.set_exception(error)
        self._idle.set()

    def _add(self, write: Write) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        done.add_done_callback(_seen)
        if self.error is not None:
            done.set_exception(self.error)
            return done
        if not self._gathered:
            self._idle.clear()
            # What else this turn of the loop brings goes along.
            asyncio.get_running_loop().call_soon(self._send)
        self._gathered.append((write, done))
        return done

    def _send(self) -> None:
        gathered, self._gathered = self._gathered, []
        if not gathered:  # a failure came first
            return
        self._sent.append([done for _, done in gathered])
        self._tell(("write", [write for write, _ in gathered]))


def _seen(done: asyncio.Future[Any]) -> None:
    """Who does not wait for a write learns of its failure from `error`."""
    if not done.cancelled():
        done.exception()
