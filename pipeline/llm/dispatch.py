"""Answers in plan order, from the ledger where they are, from the backend where they are not.

Requests are sent ahead with bounded concurrency and may come back in any order; they are handed on
in the order of the plan, so nothing downstream can depend on which server was faster. Before a
request is sent, its attempt is marked in the ledger and its largest cost is set aside; before an
answer is handed on, it is in the ledger. When it has to end early (a stop, a spent budget, an
error), it sends no more, gives what is in flight a moment to arrive, since it may be paid for, and
hands on what is whole in plan order.

Memory: at most `window` answers wait at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from pipeline.ledger import Ledger
from pipeline.llm.base import Answer, AttemptFailed, Backend
from pipeline.llm.prices import Budget
from pipeline.llm.retry import AttemptLog, Retrier
from pipeline.llm.source import Answered, End, Result, Traffic
from prompts.request import Request

GRACE = 15.0  # seconds that requests in flight get to arrive after a stop
WINDOW_FACTOR = 4  # answers that may wait for an earlier one, as a multiple of the concurrency


class _Attempts(AttemptLog):
    """The ledger's record of one request; its first attempt was marked when it was launched."""

    def __init__(self, owner: Dispatcher, request: Request, first: int, reserved: float) -> None:
        self._owner = owner
        self._request = request
        self._first = True
        self.reserved = reserved
        self.current = first
        self.in_flight = True

    def begin(self) -> None:
        if not self._first:
            (self.current,) = self._owner.ledger.begin([(self._request.id, self.reserved)])
        self._first = False
        self.in_flight = True

    def fail(self, failure: AttemptFailed) -> None:
        usd = self.reserved if failure.may_cost else 0.0
        self._owner.ledger.fail(self.current, failure.outcome, usd)
        self._owner.budget.settle(0.0, usd)
        self._owner.traffic.usd += usd
        self._owner.traffic.retries += 1
        self.in_flight = False


class Dispatcher:
    """Sends the requests of a plan and yields their answers in order.

    Args:
        request: The request at a position of the plan.
        backend: Who answers.
        ledger: Where answers are kept.
        retrier: How failed attempts are made again.
        budget: What may be spent.
        concurrency: Requests in flight at most.
        grace: Seconds that requests in flight get to arrive when it ends early.

    Attributes:
        traffic: Counts so far.
        end: Why it ended before the caller left: "stopped", "budget" or "".
    """

    def __init__(
        self,
        request: Callable[[int], Request],
        backend: Backend,
        ledger: Ledger,
        *,
        retrier: Retrier | None = None,
        budget: Budget | None = None,
        concurrency: int = 8,
        grace: float = GRACE,
    ) -> None:
        self._request = request
        self._backend = backend
        self.ledger = ledger
        self._retrier = retrier or Retrier()
        self.budget = budget or Budget()
        self._concurrency = concurrency
        self._window = WINDOW_FACTOR * concurrency
        self._grace = grace
        self._pending: dict[asyncio.Task[Answer], tuple[Request, _Attempts]] = {}
        self._ready: dict[int, Answered] = {}
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self.traffic = Traffic()
        self.end: End = ""

    def stop(self) -> None:
        """Send no more; `stream` ends after what is in flight has had its moment."""
        self._stop.set()

    async def stream(self, first: int, ahead: Callable[[], int]) -> AsyncGenerator[Result, None]:
        """Yield answers in plan order until the caller leaves, a stop, or a spent budget.

        Close it (`contextlib.aclosing`): what is in flight then still gets its moment.

        Args:
            first: Position to begin with.
            ahead: How many further answers the caller expects to need; asked again and again, so
                that little is paid for what nobody will use. At 0 nothing more is sent.

        Raises:
            LqtseError: What the backend or the ledger says for good; raised after all answers
                before it were handed on.
        """
        position = unsent = first  # the next to hand on, the next to send
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while True:
                if not self._ending():
                    reach = position + min(self._window, ahead())
                    unsent = self._fill(unsent, reach)
                if position in self._ready:
                    yield self._ready.pop(position)
                    position += 1
                    # The caller may never wait: let signals and arrivals in.
                    await asyncio.sleep(0)
                    self._collect()
                elif self._ending() or not self._pending:
                    break
                else:
                    waiting = {*self._pending, stopped}
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    self._collect()
            await self._drain()
            while position in self._ready:
                yield self._ready.pop(position)
                position += 1
            if self._error is not None:
                raise self._error
            if self._stop.is_set():
                self.end = "stopped"
        except GeneratorExit:
            await self._drain()
            raise
        finally:
            stopped.cancel()
            await self._abandon()

    def _ending(self) -> bool:
        return self._stop.is_set() or self._error is not None or self.end == "budget"

    def _fill(self, unsent: int, reach: int) -> int:
        """Take answers from the ledger and launch requests; return the next position to send."""
        while unsent < reach and (free := self._concurrency - len(self._pending)) > 0:
            requests = [self._request(index) for index in range(unsent, min(unsent + free, reach))]
            known = self.ledger.get([request.id for request in requests])
            launch: list[tuple[Request, float]] = []
            for request in requests:
                if (answer := known.get(request.id)) is not None:
                    self._ready[request.index] = Answered(request, answer, replayed=True)
                    self.traffic.replayed += 1
                else:
                    worst = self.budget.worst_case(request)
                    if not self.budget.reserve(worst):
                        self._launch(launch)
                        if not self._pending:
                            self.end = "budget"
                        return unsent
                    launch.append((request, worst))
                unsent += 1
            self._launch(launch)
        return unsent

    def _launch(self, launch: list[tuple[Request, float]]) -> None:
        if not launch:
            return
        marks = self.ledger.begin([(request.id, worst) for request, worst in launch])
        for (request, worst), mark in zip(launch, marks, strict=True):
            log = _Attempts(self, request, mark, worst)
            task = asyncio.create_task(self._retrier.answer(self._backend, request, log))
            self._pending[task] = (request, log)
        self.traffic.in_flight = len(self._pending)

    def _collect(self) -> None:
        """Put what has arrived into the ledger, in one transaction, then among the ready."""
        good: list[tuple[Request, _Attempts, Answer]] = []
        for task in [task for task in self._pending if task.done()]:
            request, log = self._pending.pop(task)
            if task.cancelled():
                self.budget.settle(log.reserved, 0.0)
            elif (error := task.exception()) is not None:
                self.budget.settle(log.reserved, 0.0)
                self._error = self._error or error
                if log.in_flight:
                    self.ledger.fail(log.current, type(error).__name__)
            else:
                good.append((request, log, task.result()))
        self.traffic.in_flight = len(self._pending)
        if not good:
            return
        costs = [self.budget.cost(a.prompt_tokens, a.completion_tokens) for _, _, a in good]
        self.ledger.store(
            (log.current, request.id, answer, cost)
            for (request, log, answer), cost in zip(good, costs, strict=True)
        )
        for (request, log, answer), cost in zip(good, costs, strict=True):
            self.budget.settle(log.reserved, cost or 0.0)
            self._count(answer, cost or 0.0)
            self._ready[request.index] = Answered(request, answer, replayed=False)

    def _count(self, answer: Answer, usd: float) -> None:
        self.traffic.asked += 1
        self.traffic.prompt_tokens += answer.prompt_tokens
        self.traffic.completion_tokens += answer.completion_tokens
        self.traffic.usd += usd

    async def _drain(self) -> None:
        """Let what is in flight arrive: it may be paid for. Free requests are simply left."""
        if self._pending and not self._backend.offline:
            await asyncio.wait(self._pending, timeout=self._grace)
        self._collect()

    async def _abandon(self) -> None:
        """Give up what is still in flight; without a cost when the backend is offline."""
        for task in self._pending:
            task.cancel()
        if self._pending:
            await asyncio.wait(self._pending)
        for _, log in self._pending.values():
            if self._backend.offline and log.in_flight:
                self.ledger.fail(log.current, "cancelled")
        self._pending.clear()
        self.traffic.in_flight = 0
