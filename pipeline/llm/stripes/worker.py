"""A worker process: asks for the positions of its stripe, and judges what comes.

It says, in this order whatever happens at once:

    ("ready",)                         it may be told to begin
    ("write", [write, ...])            answered by ("wrote", [result, ...]) or ("broken", error)
    ("give up", [(request id, reason), ...])
    ("results", [result, ...], counts) in the order of its stripe; counts as `Traffic` has them
    ("hold", seconds)                  a server asked to wait, and that concerns all workers
    ("dialects", {address: memory})    what it found out about the servers
    ("end", end, bound)                it is done, as `Dispatcher.end` and `Budget.bound` say
    ("error", error)                   it cannot go on

and is told ("reach", position): work on what comes before it; ("hold", seconds); ("stop",). When
the parent is gone, so is the worker, at once: what it had in flight is lost as in any death.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable
from contextlib import aclosing
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

from cache_store.errors import LqtseError
from pipeline.examine import examine
from pipeline.llm.dispatch import Dispatcher
from pipeline.llm.limits import Limiter
from pipeline.llm.retry import Retrier
from pipeline.llm.servers import open_servers
from pipeline.llm.source import Answered, Result
from pipeline.llm.stripes.orders import Orders
from pipeline.llm.stripes.remote import RemoteCommits, RemoteLedger

_TOGETHER = 0.004  # seconds in which results gather, so that they are sent and read together


def work(connection: Connection, orders: Orders) -> None:
    """The process."""
    Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_Worker(connection, orders).run())


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Worker:
    def __init__(self, connection: Connection, orders: Orders) -> None:
        self._connection = connection
        self._orders = orders
        self._done = orders.first  # the number, in the stripe, of the next result
        self._reach = 0
        self._further = asyncio.Event()
        self._ended = False
        self._results: list[Result] = []
        self._sending: asyncio.TimerHandle | None = None
        self._told: dict[str, Any] = {}

    async def run(self) -> None:
        """Work until told to stop, or for ever."""
        orders, loop = self._orders, asyncio.get_running_loop()
        self._commits = RemoteCommits(self._tell)
        self._retrier = Retrier(
            limiter=Limiter(orders.rpm, orders.tpm),
            held=lambda seconds: self._tell(("hold", seconds)),
        )
        self._backend = open_servers(orders.settings)
        request, stripe = orders.request, orders.stripe
        self._dispatcher = Dispatcher(
            lambda number: request(stripe.position(number)),
            self._backend,
            RemoteLedger(orders.ledger, orders.plan, self._tell),
            retrier=self._retrier,
            budget=orders.budget,
            concurrency=orders.concurrency,
            commits=self._commits,
        )
        request(
            stripe.position(orders.first)
        )  # reads word lists and templates before the clock runs
        loop.add_reader(self._connection.fileno(), self._read)
        self._tell(("ready",))
        try:
            await self._work()
            self._flush()
            self._tell(("end", self._dispatcher.end, orders.budget.bound))
        except LqtseError as error:
            self._flush()
            self._tell(("error", error))
        finally:
            await self._backend.aclose()

    async def _work(self) -> None:
        dispatcher = self._dispatcher
        while not self._ended:
            self._further.clear()
            if self._ahead() <= 0:
                await self._further.wait()
                continue
            async with aclosing(dispatcher.stream(self._done, self._ahead)) as results:
                async for result in results:
                    self._done += 1
                    self._hand_on(result)
            if dispatcher.end:
                return

    def _ahead(self) -> int:
        return max(0, self._reach - self._done)

    def _hand_on(self, result: Result) -> None:
        if isinstance(result, Answered):
            result = dataclasses.replace(
                result,
                request=dataclasses.replace(
                    result.request, messages=(), prompt="", schema=None, examples=(), aliases=()
                ),
                answer=dataclasses.replace(result.answer, text=""),
                examined=examine(result.request, result.answer),
            )
        self._results.append(result)
        if self._sending is None:
            loop = asyncio.get_running_loop()
            self._sending = loop.call_later(_TOGETHER, self._flush)

    def _flush(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        results, self._results = self._results, []
        self._tell(("results", results, dataclasses.astuple(self._dispatcher.traffic)))
        told = self._backend.describe()["dialects"]
        dialects = {url: memory for url, memory in told.items() if memory["known"]}
        if dialects != self._told:
            self._told = dialects
            self._tell(("dialects", dialects))

    def _tell(self, message: tuple[Any, ...]) -> None:
        try:
            self._connection.send(message)
        except OSError:  # the parent is gone
            os._exit(1)

    def _read(self) -> None:
        try:
            while self._connection.poll():
                kind, *values = self._connection.recv()
                self._obey(kind, *values)
        except (EOFError, OSError):
            os._exit(1)

    def _obey(self, kind: str, *values: Any) -> None:
        obey: dict[str, Callable[..., None]] = {
            "wrote": self._commits.wrote,
            "broken": self._commits.failed,
            "reach": self._go_on,
            "hold": self._retrier.hold,
            "stop": self._stop,
        }
        obey[kind](*values)

    def _go_on(self, position: int) -> None:
        self._reach = self._orders.stripe.before(position)
        self._further.set()
        self._dispatcher.look_again()

    def _stop(self) -> None:
        self._ended = True
        self._further.set()
        self._dispatcher.stop()
