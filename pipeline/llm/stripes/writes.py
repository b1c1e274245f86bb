"""What the workers have for the ledger: a transaction for all that came while the last one ran."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cache_store.errors import LqtseError
from pipeline.llm.stripes.staff import Hand

if TYPE_CHECKING:
    from pipeline.ledger import Ledger


class Writes:
    """Writes for the workers.

    Args:
        ledger: The open ledger.
        failed: Told when it cannot be written; the workers are told too.
    """

    def __init__(self, ledger: Ledger, failed: Callable[[LqtseError], None]) -> None:
        self._ledger = ledger
        self._failed = failed
        self._waiting: list[tuple[Hand, list[tuple[Any, ...]]]] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, hand: Hand, writes: list[tuple[Any, ...]]) -> None:
        """Write this for a worker, and tell it when that is on the disk."""
        self._waiting.append((hand, writes))
        if self._writing is None:
            self._writing = asyncio.create_task(self._commit())

    async def settle(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _commit(self) -> None:
        act: dict[str, Callable[..., Any]] = {
            "begin": self._ledger.write_begin,
            "fail": self._ledger.write_fail,
            "answer": self._ledger.write_answer,
        }
        try:
            while self._waiting:
                bundles, self._waiting = self._waiting, []
                calls: list[Callable[[], Any]] = [
                    partial(act[kind], *rest) for _, some in bundles for kind, *rest in some
                ]
                try:
                    results = iter(await self._ledger.transactions.together(calls))
                except LqtseError as error:
                    for hand, _ in bundles:
                        hand.tell("broken", error)
                    self._failed(error)
                    return
                for hand, some in bundles:
                    found = [next(results) for _ in some]
                    hand.keep_book(some, found)
                    hand.tell("wrote", found)
        finally:
            self._writing = None
