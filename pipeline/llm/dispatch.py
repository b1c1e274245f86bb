"""Answers in plan order, from the ledger where they are, from the backend where they are not.

Requests are sent ahead with bounded concurrency and may come back in any order; they are handed on
in the order of the plan, so nothing downstream can depend on which server was faster. Before a
request is sent, its attempt is marked in the ledger and the most that it can take is set aside;
before an answer is handed on, it is in the ledger. When it has to end early (a stop, a spent
budget, an error), it sends no more, gives what is in flight a moment to arrive, since it may be
paid for, and hands on what is whole in plan order.

A request whose attempts are all spent is left without an answer, and the plan goes on. But a server
that died would burn the plan so: a failure is recorded and handed on only when it is believed, and
a streak of them ends the run; see `doubts`.

Memory: at most `window` results wait at a time, and a streak of doubtful failures.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable

from pipeline.ledger import Ledger
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.attempts import Attempts
from pipeline.llm.base import Answer, AttemptFailed, Backend
from pipeline.llm.commits import Commits, Committing
from pipeline.llm.doubts import Doubts
from pipeline.llm.lookup import Lookup
from pipeline.llm.prices import Budget
from pipeline.llm.retry import Retrier
from pipeline.llm.source import Answered, End, Result, Traffic, Unanswered
from prompts.request import Request

GRACE = 15.0  # seconds that requests in flight get to arrive after a stop
AHEAD_FACTOR = 0.5  # requests marked before there is room to send them, as a multiple likewise
WINDOW_FACTOR = 4  # results that may wait for an earlier one, as a multiple of the concurrency


class Dispatcher:
    """Sends the requests of a plan and yields their answers in order.

    Args:
        request: The request at a position of the plan.
        backend: Who answers.
        ledger: Where answers are kept.
        retrier: How failed attempts are made again.
        budget: What may be spent.
        concurrency: Requests in flight at most.
        length: Positions that the plan has, None for no end.
        grace: Seconds that requests in flight get to arrive when it ends early.
        commits: Who writes to the ledger; by default it is written here.

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
        length: int | None = None,
        grace: float = GRACE,
        commits: Committing | None = None,
    ) -> None:
        self._backend = backend
        self.ledger = ledger
        self._retrier = retrier or Retrier()
        self.budget = budget or Budget()
        self._concurrency = concurrency
        self._window = WINDOW_FACTOR * concurrency
        # A mark and an answer take as long as the disk does. Requests that are marked already take
        # the place of one that was answered at once, while that one goes to the disk; what a death
        # can lose is the pending. Under a limit a minute there is time enough.
        ahead = 0 if self._retrier.limited else math.ceil(AHEAD_FACTOR * concurrency)
        self._most_pending = concurrency + ahead
        self.room = asyncio.Semaphore(concurrency)
        self._length = math.inf if length is None else length
        self._grace = grace
        self.commits: Committing = commits or Commits(ledger)
        self._pending: dict[asyncio.Task[Answer], tuple[int, Request, Attempts]] = {}
        self._arrived: list[asyncio.Task[Answer]] = []
        self._wake = asyncio.Event()
        self._lookup = Lookup(request, ledger, concurrency, length)
        self._ready: dict[int, Result] = {}
        self._doubtful = Doubts(concurrency)
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self._left = False
        self.traffic = Traffic()
        self.end: End = ""

    def stop(self) -> None:
        """Send no more; `stream` ends after what is in flight has had its moment."""
        self._stop.set()
        self._wake.set()

    def look_again(self) -> None:
        """More may be wanted than before: ask how many."""
        self._wake.set()

    async def prepare(self, first: int) -> None:
        """Nothing: the first request can be sent at once."""

    async def stream(self, first: int, ahead: Callable[[], int]) -> AsyncGenerator[Result, None]:
        """Yield results in plan order; see `source.AnswerSource`.

        Close it (`contextlib.aclosing`): what is in flight then still gets its moment.
        """
        position = unsent = first  # the next to hand on, the next to send
        try:
            while True:
                if not self.ending:
                    # Who fails brings nothing: others are asked instead, or none would tell whether
                    # the server lives.
                    reach = position + min(self._window, ahead()) + len(self._doubtful)
                    unsent = self._fill(unsent, int(min(reach, self._length)))
                    # The reach may have shrunk below what was sent: somebody must clear the doubts.
                    while self._in_doubt() and unsent < self._length:
                        further = min(unsent + len(self._doubtful), self._length)
                        unsent = self._fill(unsent, int(further))
                if position in self._ready:
                    yield self._ready.pop(position)
                    position += 1
                    # The caller may never wait: let signals and arrivals in.
                    await asyncio.sleep(0)
                    self._collect()
                elif self.ending or not self._pending:
                    break
                else:
                    await self._wake.wait()
                    self._wake.clear()
                    self._collect()
            await self._drain()
            self._conclude()
            while position in self._ready:
                yield self._ready.pop(position)
                position += 1
            if self._error is not None:
                raise self._error
            if self._stop.is_set():
                self.end = "stopped"
        except GeneratorExit:
            self._left = True
            await self._drain()
            raise
        finally:
            await self._abandon()
            await self.commits.flush()

    @property
    def ending(self) -> bool:
        """Whether nothing more is to be sent."""
        spent = self.end == "budget"
        return spent or self._left or self._stop.is_set() or self._error is not None

    def run_out(self) -> None:
        """Nothing is left to spend on an attempt that would have to be made again: end."""
        self.end = "budget"
        self._wake.set()

    def _fill(self, unsent: int, reach: int) -> int:
        """Take results from the ledger and launch requests; return the next position to send."""
        while unsent < reach and len(self._pending) < self._most_pending:
            request, answer, reason = self._lookup.at(unsent)
            if answer is not None:
                self._ready[unsent] = Answered(request, answer, replayed=True)
                self.traffic.replayed += 1
            elif reason is not None:
                self._ready[unsent] = Unanswered(request, reason, replayed=True)
                self.traffic.failed += 1
            else:
                worst = self.budget.worst_case(request)
                if not self.budget.reserve(worst):
                    if not self._pending:
                        self.end = "budget"
                    break
                self._launch(unsent, request, worst)
            self._lookup.forget(unsent)
            unsent += 1
        return unsent

    def _launch(self, place: int, request: Request, reserved: Amount) -> None:
        log = Attempts(self, request, reserved)
        task = asyncio.create_task(self._ask(request, log))
        task.add_done_callback(self._arrive)
        self._pending[task] = (place, request, log)
        self._count_in_flight()

    async def _ask(self, request: Request, log: Attempts) -> Answer:
        """The answer to a request, once it is in the ledger."""
        answer = await self._retrier.answer(self._backend, request, log)
        log.leave()
        cost = self.budget.cost(answer.prompt_tokens, answer.completion_tokens)
        log.answered, log.marked = True, False  # from here on it is an answer, whatever happens
        await asyncio.shield(self.commits.store(log.current, request.id, answer, cost))
        return answer

    def _arrive(self, task: asyncio.Task[Answer]) -> None:
        self._pending[task][2].leave()
        self._arrived.append(task)
        self._wake.set()

    def _collect(self) -> None:
        """Put what has arrived, and is in the ledger, among the ready."""
        answered = False
        arrived, self._arrived = self._arrived, []
        for task in arrived:
            place, request, log = self._pending.pop(task)
            if task.cancelled():
                self.budget.settle(log.held, NOTHING)
                log.close(free=self._backend.offline)
            elif (error := task.exception()) is None:
                self._keep(place, request, log, task.result())
                answered = True
            else:
                self.budget.settle(log.held, NOTHING)
                if isinstance(error, AttemptFailed):
                    self._doubtful.add(place, request, error)
                    continue
                self._error = self._error or error
                if log.marked:
                    self.commits.fail(log.current, type(error).__name__)
        self._error = self._error or self.commits.error
        self._count_in_flight()
        if answered:
            self._believe()
        elif self._doubtful.hopeless:
            self._error = self._error or self._doubtful.error()

    def _count_in_flight(self) -> None:
        self.traffic.in_flight = min(len(self._pending), self._concurrency)

    def _keep(self, place: int, request: Request, log: Attempts, answer: Answer) -> None:
        cost = self.budget.cost(answer.prompt_tokens, answer.completion_tokens) or 0.0
        tokens = answer.prompt_tokens + answer.completion_tokens
        self.budget.settle(log.held, Amount(cost, tokens))
        self._count(answer, cost)
        self._ready[place] = Answered(request, answer, replayed=False)

    def _believe(self) -> None:
        """Record the doubtful failures, and count them among the results."""
        if not self._doubtful:
            return
        self.ledger.give_up((request.id, why.outcome) for _, request, why in self._doubtful)
        for place, request, failure in self._doubtful:
            self._ready[place] = Unanswered(request, failure.outcome, replayed=False)
            self.traffic.failed += 1
        self._doubtful.clear()

    def _in_doubt(self) -> bool:
        """Whether failures wait for an answer that nobody was asked for."""
        return bool(self._doubtful) and not self._pending and not self.ending

    def _conclude(self) -> None:
        """At the end of a plan that has one, nobody comes to clear the last doubts."""
        if not self._doubtful or self.ending:
            return
        if self.traffic.asked:
            self._believe()
        else:
            self._error = self._doubtful.error()

    def _count(self, answer: Answer, usd: float) -> None:
        self.traffic.asked += 1
        self.traffic.prompt_tokens += answer.prompt_tokens
        self.traffic.completion_tokens += answer.completion_tokens
        self.traffic.usd += usd

    async def _drain(self) -> None:
        """Let what is in flight arrive: it may be paid for. What is free and not answered yet, or
        only waits for its next attempt, is left."""
        for task, (_, _, log) in self._pending.items():
            if not log.sent:
                task.cancel()
        offline = self._backend.offline
        wanted = [task for task, (*_, log) in self._pending.items() if log.answered or not offline]
        if wanted:
            await asyncio.wait(wanted, timeout=self._grace)
        self._collect()

    async def _abandon(self) -> None:
        """Give up what is still in flight; without a cost when the backend is offline."""
        for task in self._pending:
            task.cancel()
        if self._pending:
            await asyncio.wait(self._pending)
        for _, _, log in self._pending.values():
            log.close(free=self._backend.offline)
        self._pending.clear()
        self.traffic.in_flight = 0
