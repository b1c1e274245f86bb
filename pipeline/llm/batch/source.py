"""The results of a plan, from batches at a server.

Requests that the ledger has no answer to are taken from the plan in order, as many as the run
expects to need, and handed over a batch at a time; when a batch has ended, its answers go into the
ledger, and results are handed on from there in plan order. The first batch goes alone, so that
little is paid for a model that turns out to be useless. Where a batch stands is in the book before
anything is sent, so a run may end at any moment, and the next one goes on.

Memory: the ids of the requests in the batches at the server.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable

from cache_store.errors import LqtseError, RemoteError, UsageError
from pipeline.llm.batch.book import RETRY, Book, Entry
from pipeline.llm.batch.choose import Chooser
from pipeline.llm.batch.collect import Collector, Tally
from pipeline.llm.batch.faults import NotThere
from pipeline.llm.batch.lines import Failure
from pipeline.llm.batch.model import BatchModel, BatchOptions
from pipeline.llm.batch.patience import Patience
from pipeline.llm.batch.pending import Pending, PendingBatches
from pipeline.llm.batch.remote import ENDED
from pipeline.llm.batch.results import KnownResults
from pipeline.llm.batch.room import Room
from pipeline.llm.batch.submit import Submitter
from pipeline.llm.batch.verdict import Verdict, gone, judge
from pipeline.llm.source import End, Job, Result, Traffic


class BatchSource:
    """Brings the results of a plan; see `source.AnswerSource`.

    Args:
        job: The plan, the ledger and the budget.
        model: Who answers.
        options: How batches are made.

    Attributes:
        traffic: Counts so far.
        end: Why it ended before the caller left: "stopped", "budget", "waiting" (batches are at
            the server, and the options say not to wait) or "".

    Raises:
        StorageError: If the ledger's file cannot be written.
    """

    def __init__(self, job: Job, model: BatchModel, options: BatchOptions) -> None:
        self._job = job
        self._model = model
        self._options = options
        # A job with an end is not the plan but a choice from it (`retry`), whose positions mean
        # something else: the batches of the two are kept apart.
        self._plan = job.plan if job.length is None else job.plan + RETRY
        self._book = Book(job.ledger)
        self._collector = Collector(model.server, self._book, job.ledger)
        self._submitter = Submitter(job, self._plan, model, self._book)
        self._pending = PendingBatches()
        self._chooser = Chooser(job, self._pending, 0)
        self._room = Room(options)
        self._learnt: set[str] = set()
        self._barren = 0
        self._opened = False
        self._over = False
        self._results = KnownResults(job)
        self._error: LqtseError | None = None
        self._stop = asyncio.Event()
        self._patience = Patience(options.poll, self._stop, options.note)
        self.traffic = Traffic()
        self.end: End = ""

    def stop(self) -> None:
        """Send no more and wait no more: batches at the server go on there."""
        self._stop.set()

    async def prepare(self, first: int) -> None:
        """Nothing: what takes time here is counted."""

    async def stream(self, first: int, ahead: Callable[[], int]) -> AsyncGenerator[Result, None]:
        """Yield results in plan order; see `source.AnswerSource.stream`."""
        position = self._chooser.unsent = first
        if first:
            self._room.open_up()
        self._note_left(await self._collector.sweep(self._plan, self._options.keep_files))
        while True:
            results = self._results.from_place(position)
            for result in results:
                position += 1
                self.traffic.replayed += self._results.is_replay(result)
                yield result
                # The caller may never wait: let signals in.
                await asyncio.sleep(0)
            if results:
                self._room.open_up()
            elif self._over or self._error or self._stop.is_set() or self._at_end(position):
                break
            else:
                try:
                    await self._bring(position, ahead())
                except LqtseError as error:
                    # What was collected before it is handed on first.
                    self._error = error
        if self._error is not None:
            raise self._error
        if self._stop.is_set():
            self.end = "stopped"

    def _at_end(self, position: int) -> bool:
        return self._job.length is not None and position >= self._job.length

    async def _bring(self, position: int, need: int) -> None:
        """Do one thing that may bring the result at `position` nearer."""
        if not self._opened:
            await self._open()
        if await self._look():
            self._show()
            return
        submitted = await self._submit(position, need)
        self._show()
        if not self._pending:
            self._over = not submitted
        elif need <= 0 and self._job.request(position).id not in self._pending:
            self._over = True
        elif not self._options.wait:
            self.end, self._over = "waiting", True
        else:
            await self._patience.pause()

    async def _open(self) -> None:
        """Take up what earlier runs left."""
        for entry in self._book.open():
            if entry.plan != self._plan:
                self._job.budget.hold(entry.worst)
                continue
            if entry.address != self._model.server.address:
                raise UsageError(
                    "a batch of this plan is at another server",
                    where=entry.address,
                    found=self._model.server.address,
                    hint=f"Go on with --base-url {entry.address}, or give it up: "
                    "lqtse-cache batches CACHE --cancel",
                )
            self._job.budget.hold(entry.worst)
            pending = await self._submitter.resume(entry)
            if pending is not None:
                self._pending.add(pending)
        if self._job.length is None:
            for pending in await self._submitter.adopt(self._pending):
                self._options.note(f"found batch {pending.entry.batch_id} of this plan")
                self._pending.add(pending)
        self._opened = True

    async def _submit(self, position: int, need: int) -> bool:
        """Make the batches that are due; False if there were none."""
        made = False
        while len(self._pending) < self._room.batches and not self._stop.is_set():
            if not self._chooser.is_due(position, need, self._room.requests):
                break
            reach = position + need
            if self._job.length is not None:
                reach = min(reach, self._job.length)
            with tempfile.TemporaryFile() as content:
                chosen = self._chooser.take(
                    reach,
                    self._room.requests,
                    self._model.dialect,
                    content,
                    # A failure is believed only where something else was answered.
                    alone=self.traffic.asked > 0,
                )
                if not chosen.members:
                    if chosen.short and not self._pending:
                        self.end = "budget"
                    break
                pending = await self._submitter.submit(chosen, content)
            self._pending.add(pending)
            self._patience.begin_anew()
            made = True
        return made

    async def _look(self) -> bool:
        """Ask how the batches stand, and collect those that have ended; False if none has."""
        ended = False
        for pending in self._pending:
            try:
                pending.batch = await self._model.server.batch(pending.entry.batch_id or "")
            except NotThere:
                raise gone(self._model.server.address, pending.entry.batch_id, "a trace") from None
            except RemoteError as error:
                if not self._options.wait or not self._patience.may_pass(error):
                    raise
                return ended
            self._patience.heard()
            if pending.batch.status in ENDED:
                await self._collect(pending)
                ended = True
        return ended

    async def _collect(self, pending: Pending) -> None:
        batch, worst = pending.batch, pending.entry.worst
        if batch is None:
            return
        entry, tally = await self._collector.collect(pending.entry, batch)
        if tally.gone and entry.ours:
            raise gone(self._model.server.address, entry.batch_id, "all answers")
        self._pending.remove(pending)
        self._job.budget.settle(worst, tally.spent)
        self._add(tally)
        self._barren = 0 if tally.answered else self._barren + 1
        verdict = judge(
            batch,
            pending.members,
            tally,
            served=self.traffic.asked > 0,
            barren=self._barren,
            address=self._model.server.address,
            adapt=lambda failure: self._adapt(failure, pending),
            shown=self._model.server.shown,
        )
        self._obey(verdict, len(pending.members), pending.beside)
        await self._clean(entry)

    def _adapt(self, failure: Failure, pending: Pending) -> bool:
        """Learn from a refusal how the server wants to be asked; False if there is nothing new."""
        fault, dialect = failure.fault, self._model.dialect
        # Several batches may have been sent in the way that is refused.
        name = fault.param or fault.message
        if name not in self._learnt:
            sample = self._job.request(pending.members[0].position)
            if not dialect.adapt(fault.param, fault.message, dialect.parameters(sample)):
                return False
            self._learnt.add(name)
            self._options.note(
                f"the server does not take {fault.param or 'what it was sent'}: asking again "
                "in another way"
            )
        return True

    def _add(self, tally: Tally) -> None:
        """Count what a batch brought."""
        self._results.fresh |= tally.answered
        self.traffic.asked += len(tally.answered)
        self.traffic.retries += sum(failure.counts for failure in tally.failures.values())
        self.traffic.prompt_tokens += tally.prompt_tokens
        self.traffic.completion_tokens += tally.completion_tokens
        self.traffic.usd += tally.usd
        if tally.strangers:
            self._options.note(f"{tally.strangers:,} answers to what was not asked are left out")
        if tally.damaged:
            self._options.note(f"{tally.damaged:,} damaged lines among the answers")

    def _obey(self, verdict: Verdict, size: int, beside: int) -> None:
        """Do what follows from a batch of `size` requests, sent beside others."""
        self._chooser.put_back(verdict.again)
        if verdict.given_up:
            self._job.ledger.give_up(verdict.given_up)
            self.traffic.failed += len(verdict.given_up)
            self._results.give_up(dict(verdict.given_up))
        if verdict.too_many:
            refusal = self._room.refused(size, beside, self._model.server.address)
            self._error = self._error or refusal
        self._error = self._error or verdict.error

    async def _clean(self, entry: Entry) -> None:
        self._note_left(await self._collector.clean(entry, keep_files=self._options.keep_files))

    def _note_left(self, left: list[str]) -> None:
        if left:
            self._options.note(f"files that could not be deleted: {', '.join(left)}")

    def _show(self) -> None:
        self.traffic.in_flight = self._pending.requests
        self.traffic.waiting = self._pending.said()
        self._job.changed()
