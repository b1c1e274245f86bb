"""The worker processes of one run: started, read from, ended."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.source import Traffic
from pipeline.llm.stripes.orders import Orders
from pipeline.llm.stripes.worker import work

Hear = Callable[["Hand", str, tuple[Any, ...]], None]


class Hand:
    """One worker, as the parent knows it; its process may be replaced.

    Args:
        orders: What it works on.
        hear: Told what it says: kind and values; "gone" when its process ended.

    Attributes:
        orders: What it works on, from where it is now.
        ready: Set when it may be told to begin.
        traffic: Its counts, those of its dead processes included.
        open: The attempts that it has in flight, and the most that each can take.
        spent: What its answers and its lost attempts took.
        deaths: Processes that died since it last brought a result.
        ended: Whether it said that it is done.
    """

    def __init__(self, orders: Orders, hear: Hear) -> None:
        self.orders = orders
        self.ready = asyncio.Event()
        self.traffic = Traffic()
        self.open: dict[int, Amount] = {}
        self.spent = NOTHING
        self.deaths = 0
        self.ended = False
        self._hear = hear
        self._before = Traffic()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Start its process."""
        # Not fork: this process has threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self.orders), daemon=True)
        # Ctrl-C reaches the whole process group, but the parent alone decides what it means: a
        # child inherits the mask, and so is deaf to it from its first instruction on.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()  # so that a dead worker reads as the end of the pipe
        self._process, self._connection = process, ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read)

    def tell(self, *message: Any) -> None:
        """Send it a message; one that is gone does not hear it, and is heard of soon."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.send(message)

    def count(self, counts: tuple[Any, ...]) -> None:
        """Take over the counts of its present process."""
        now, before = Traffic(*counts), self._before
        self.traffic.in_flight = now.in_flight
        for name in ("asked", "replayed", "retries", "failed", "prompt_tokens"):
            setattr(self.traffic, name, getattr(before, name) + getattr(now, name))
        self.traffic.completion_tokens = before.completion_tokens + now.completion_tokens
        self.traffic.usd = before.usd + now.usd

    def keep_book(self, writes: list[tuple[Any, ...]], results: list[Any]) -> None:
        """Remember what it has in flight, and what it spent.

        Args:
            writes: What was written for it.
            results: What the ledger gave back for each.
        """
        for (kind, *rest), result in zip(writes, results, strict=True):
            if kind == "begin":
                self.open[result] = rest[1]
                continue
            self.open.pop(rest[0], None)
            if kind == "fail":
                self.spent += rest[2]
            else:
                answer, usd = rest[2], rest[3] or 0.0
                self.spent += Amount(usd, answer.prompt_tokens + answer.completion_tokens)

    def end(self) -> None:
        """End its process, whatever it does, and forget it; harmless if it has none."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if connection is not None:
            asyncio.get_running_loop().remove_reader(connection.fileno())
            connection.close()
        if process is not None:
            process.kill()
            process.join()
        self.ready.clear()
        self._before = Traffic(**vars(self.traffic))
        self._before.in_flight = 0

    def _read(self) -> None:
        try:
            while self._connection is not None and self._connection.poll():
                kind, *values = self._connection.recv()
                self._hear(self, kind, tuple(values))
        except (EOFError, OSError):
            self.end()
            self._hear(self, "gone", ())
