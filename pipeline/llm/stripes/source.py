"""The parent: writes to the ledger for all workers, and puts their results in plan order.

Each worker has its share of the concurrency, of the limits a minute and of what is left to spend.
So no limit is passed, and a run may end with up to the others' last requests unspent. A worker that
dies is replaced: what it had in flight is marked as lost and counts against its share.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from cache_store.errors import LqtseError, RemoteError
from pipeline.llm.amount import NOTHING
from pipeline.llm.dispatch import GRACE
from pipeline.llm.source import End, Job, Result, Traffic
from pipeline.llm.stripes.orders import Orders
from pipeline.llm.stripes.staff import Hand
from pipeline.llm.stripes.stripe import BLOCK, Stripe
from pipeline.llm.stripes.writes import Writes

if TYPE_CHECKING:
    from pipeline.llm.stripes.model import StripedModel

WINDOW_FACTOR = 8  # results that may wait for an earlier one, as a multiple of the concurrency
MARGIN = 5.0  # seconds beyond the grace of requests in flight that a worker gets to end
_DEATHS = 3  # processes of a worker in a row that died without a result: they will not get better
_STEP = 16  # how much further the workers are let at a time, unless they wait


class StripedSource:
    """Brings the results of a plan, by several processes; see `source.AnswerSource`.

    Args:
        job: What to work on; it has no end.
        model: Who is asked.
        workers: How many processes, at most.
        concurrency: Requests in flight, in all.
        rpm: Requests a minute, in all.
        tpm: Tokens a minute, in all.

    Attributes:
        traffic: Counts so far.
        end: Why it ended before the caller left.
    """

    def __init__(
        self,
        job: Job,
        model: StripedModel,
        *,
        workers: int,
        concurrency: int,
        rpm: int | None = None,
        tpm: int | None = None,
    ) -> None:
        self.traffic = Traffic()
        self.end: End = ""
        self._job = job
        self._model = model
        self._workers = workers
        self._concurrency = concurrency
        self._rpm, self._tpm = rpm, tpm
        self._window = WINDOW_FACTOR * concurrency
        self._hands: list[Hand] = []
        self._ready: dict[int, Result] = {}
        self._writes = Writes(job.ledger, self._not_written)
        self._wake = asyncio.Event()
        self._reach = 0
        self._stopping = False
        self._error: BaseException | None = None

    def stop(self) -> None:
        """Send no more; `stream` ends after what is in flight has had its moment."""
        self._stopping = True
        self.end = self.end or "stopped"
        self._tell_all("stop")
        self._wake.set()

    async def prepare(self, first: int) -> None:
        """Start the processes."""
        count = self._number(first)
        for worker in range(count):
            stripe = Stripe(worker, count)
            orders = Orders(
                request=self._job.request,
                stripe=stripe,
                first=stripe.before(first),
                settings=self._model.settings,
                ledger=self._job.ledger.path,
                plan=self._job.plan,
                budget=self._job.budget.share(count),
                concurrency=self._concurrency // count + (worker < self._concurrency % count),
                rpm=None if self._rpm is None else self._rpm // count,
                tpm=None if self._tpm is None else self._tpm // count,
            )
            self._hands.append(Hand(orders, self._hear))
        for hand in self._hands:
            hand.start()
        while not all(hand.ready.is_set() for hand in self._hands) and self._error is None:
            await self._wake.wait()
            self._wake.clear()

    async def stream(self, first: int, ahead: Callable[[], int]) -> AsyncGenerator[Result, None]:
        """Yield results in plan order; see `source.AnswerSource`."""
        position = first
        try:
            while True:
                self._let_on(position, ahead)
                if position in self._ready:
                    yield self._ready.pop(position)
                    position += 1
                    if position % _STEP == 0:
                        await asyncio.sleep(0)  # the caller may never wait: let messages in
                elif self._leaving:
                    break
                else:
                    await self._wake.wait()
                    self._wake.clear()
            await self._drain()
            while position in self._ready:
                yield self._ready.pop(position)
                position += 1
            if self._error is not None:
                raise self._error
        except GeneratorExit:
            await self._drain()
            raise
        finally:
            for hand in self._hands:
                hand.end()
            await self._writes.settle()

    @property
    def _leaving(self) -> bool:
        """Whether nothing more is to be sent."""
        return self._stopping or self._error is not None or self.end == "budget"

    def _number(self, first: int) -> int:
        """How many workers there is enough to do, and to spend, for."""
        most = min(self._workers, self._concurrency, self._rpm or self._workers)
        worst = self._job.budget.worst_case(self._job.request(first))
        for count in range(most, 1, -1):
            share, each = self._job.budget.share(count), -(-self._concurrency // count)
            if all(share.reserve(worst) for _ in range(2 * each)):
                return count
        return 1

    def _let_on(self, position: int, ahead: Callable[[], int]) -> None:
        """Tell the workers how far they may go, when it is much further or when they wait."""
        if self._leaving:
            return
        reach = position + min(self._window, ahead())
        waiting = self._reach - position < self._concurrency + BLOCK * len(self._hands)
        if reach > self._reach and (waiting or reach - self._reach >= _STEP):
            self._reach = reach
            self._tell_all("reach", reach)

    def _tell_all(self, *message: Any) -> None:
        for hand in self._hands:
            if not hand.ended:
                hand.tell(*message)

    def _hear(self, hand: Hand, kind: str, values: tuple[Any, ...]) -> None:
        hear: dict[str, Callable[..., None]] = {
            "ready": self._begins,
            "write": self._writes.add,
            "give up": self._give_up,
            "results": self._take,
            "hold": self._hold,
            "dialects": self._learn,
            "end": self._ends,
            "error": self._fails,
            "gone": self._replace,
        }
        try:
            hear[kind](hand, *values)
        except LqtseError as error:
            self._fails(hand, error)

    def _begins(self, hand: Hand) -> None:
        hand.ready.set()
        if self._reach:
            hand.tell("reach", self._reach)
        if self._stopping:
            hand.tell("stop")
        self._wake.set()

    def _take(self, hand: Hand, results: list[Result], counts: tuple[Any, ...]) -> None:
        for result in results:
            self._ready[result.request.index] = result
        if results:
            done = hand.orders.first + len(results)
            hand.orders = dataclasses.replace(hand.orders, first=done)
            hand.deaths = 0
        hand.count(counts)
        for name in vars(self.traffic):
            if name != "waiting":
                total = sum(getattr(one.traffic, name) for one in self._hands)
                setattr(self.traffic, name, total)
        self._wake.set()

    def _hold(self, hand: Hand, seconds: float) -> None:
        for other in self._hands:
            if other is not hand:
                other.tell("hold", seconds)

    def _learn(self, hand: Hand, dialects: dict[str, dict[str, Any]]) -> None:
        del hand
        self._model.learn(dialects)

    def _give_up(self, hand: Hand, requests: list[tuple[str, str]]) -> None:
        del hand
        self._job.ledger.give_up(requests)

    def _ends(self, hand: Hand, end: End, bound: str) -> None:
        hand.ended = True
        if end == "budget":
            self.end = "budget"
            self._job.budget.bound = bound  # type: ignore[assignment]
        self._wake.set()

    def _fails(self, hand: Hand, error: BaseException) -> None:
        hand.ended = True
        self._error = self._error or error
        self._wake.set()

    def _replace(self, hand: Hand) -> None:
        """A process is gone: if it was not to be, another one goes on where it was."""
        if hand.ended:
            return
        lost, hand.open = hand.open, {}
        ledger = self._job.ledger
        with ledger.transactions():
            for attempt, worst in lost.items():
                ledger.write_fail(attempt, "lost", worst)
        taken = sum(lost.values(), hand.spent)
        budget, hand.spent = hand.orders.budget, NOTHING
        budget.settle(NOTHING, taken)  # the next process begins with what this one left
        hand.deaths += 1
        if hand.deaths >= _DEATHS or self._leaving:
            self._fails(
                hand,
                RemoteError(
                    "the worker processes end at once"
                    if hand.deaths >= _DEATHS
                    else "a worker process ended",
                    hint="What they said is above; try without --workers",
                ),
            )
            return
        hand.start()

    def _not_written(self, error: LqtseError) -> None:
        self._error = self._error or error
        self._wake.set()

    async def _drain(self) -> None:
        """Let what is in flight arrive: it may be paid for."""
        self._tell_all("stop")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GRACE + MARGIN
        while not all(hand.ended for hand in self._hands):
            left = deadline - loop.time()
            if left <= 0:
                break
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except (asyncio.TimeoutError, TimeoutError):
                break
