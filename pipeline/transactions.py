"""Transactions of the ledger: one at a time, on the disk when it is said that they are.

A commit waits for the disk, and in that time answers could arrive and requests be sent. So besides
transactions that block there are those whose statements run here and whose commit runs in a thread:
what comes meanwhile goes together into the next one (`llm.commits`). Nothing else may begin before
a commit is through, so whoever needs the connection waits for it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.ledger_format import told


class Transactions:
    """The transactions of one connection, which must allow the use in other threads.

    Args:
        path: The file, for errors.
        connection: To it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._commit: Future[Any] | None = None
        self._thread: ThreadPoolExecutor | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A transaction that is on the disk when the context ends.

        Raises:
            DamagedError, StorageError: As SQLite says; nothing of it is kept then.
        """
        self.settle()
        with told(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    async def together(self, writes: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run `writes` in one transaction; what they return, once all of it is on the disk.

        Cancelled, it commits all the same.

        Raises:
            DamagedError, StorageError: As above.
        """
        self.settle()
        with told(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                results = [write() for write in writes]
                if self._thread is None:
                    self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
                self._commit = self._thread.submit(self._connection.execute, "COMMIT")
            except BaseException:
                self._roll_back()
                raise
            try:
                await asyncio.shield(asyncio.wrap_future(self._commit))
            except sqlite3.Error:
                self.settle()
                raise
        return results

    def settle(self) -> None:
        """Wait for a commit that is on its way."""
        if self._commit is not None:
            wait([self._commit])
            if self._commit.exception() is not None:
                self._roll_back()
            self._commit = None

    def close(self) -> None:
        """End the thread."""
        self.settle()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _roll_back(self) -> None:
        # SQLite rolls back by itself after a full disk; there is nothing to undo then.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
