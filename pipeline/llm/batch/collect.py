"""From a batch that ended to the ledger: every answer that it has, and why the others are missing.

Files are read line by line and answers stored a few hundred at a time, so memory holds the ids of
one batch and no more. Doing it again does no harm: what the ledger has stays, and is not counted
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cache_store.errors import RemoteError
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.base import Answer
from pipeline.llm.batch.book import Book, Entry
from pipeline.llm.batch.faults import NotThere
from pipeline.llm.batch.lines import DAMAGED, MISSING, NOT_IN_IT, Failure, read_line
from pipeline.llm.batch.remote import ENDED, BatchServer
from pipeline.llm.batch.rounds import Member

if TYPE_CHECKING:
    from openai.types import Batch

    from pipeline.ledger import Ledger

_AT_ONCE = 256  # answers a transaction


@dataclass
class Tally:
    """What a batch brought.

    Attributes:
        answered: Ids of the requests answered.
        failures: Why the others are not, by request id.
        strangers: Lines about requests that were not in the batch.
        damaged: Lines that could not be read.
        prompt_tokens: Tokens read, by these answers.
        completion_tokens: Tokens written, by these answers.
        usd: What the answers cost, 0 where the price is not known.
        lost_tokens: The most that failures that may be charged for can have taken.
        gone: Whether the server has lost a file of answers.
    """

    answered: set[str] = field(default_factory=set)
    failures: dict[str, Failure] = field(default_factory=dict)
    strangers: int = 0
    damaged: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    lost_tokens: int = 0
    gone: bool = False

    @property
    def spent(self) -> Amount:
        """What counts against the budget."""
        return Amount(self.usd, self.prompt_tokens + self.completion_tokens + self.lost_tokens)


class Collector:
    """Brings batches in.

    Args:
        server: Where they are.
        book: Where they are written down.
        ledger: Where their answers go.
    """

    def __init__(self, server: BatchServer, book: Book, ledger: Ledger) -> None:
        self._server = server
        self._book = book
        self._ledger = ledger

    async def collect(self, entry: Entry, batch: Batch) -> tuple[Entry, Tally]:
        """Put the answers of a batch that ended into the ledger, then mark it as collected.

        A batch whose files are lost is left as it is (`Tally.gone`), unless it is not ours.

        Args:
            entry: The batch in the book.
            batch: The batch at the server.

        Returns:
            The batch in the book now, and what it brought.

        Raises:
            RemoteError: If its files cannot be read.
        """
        members = self._book.members(entry)
        reader = _Reader(entry, members, self._ledger)
        named = (batch.output_file_id, batch.error_file_id)
        files = [file_id for file_id in named if file_id]
        for file_id in files:
            try:
                await self._server.each_line(file_id, reader.take)
            except NotThere:
                reader.tally.gone = True
        tally = reader.end()
        if tally.gone and entry.ours:
            return entry, tally
        # The files of a batch that another cache submitted are for that cache to delete.
        left = [*entry.files, *files] if entry.ours else []
        return self._book.collected(entry, list(dict.fromkeys(left))), tally

    async def clean(self, entry: Entry, *, keep_files: bool) -> list[str]:
        """Delete the files of a collected batch from the server, and close its entry.

        Returns:
            The files that could not be deleted.
        """
        left = []
        for file_id in () if keep_files else entry.files:
            if not await self._server.delete(file_id):
                left.append(file_id)
        self._book.done(entry)
        return left

    async def sweep(self, plan: str, keep_files: bool) -> list[str]:
        """Finish what a run left that died with all answers of a batch in the ledger.

        Args:
            plan: The key of the plan whose batches are meant.
            keep_files: Whether to leave files at the server.

        Returns:
            The files that could not be deleted.
        """
        left: list[str] = []
        for entry in self._book.open():
            if (entry.plan, entry.address) != (plan, self._server.address):
                continue
            if entry.state == "submitted" and self._is_answered(entry):
                entry = await self._finished(entry)
            if entry.state == "collected":
                left += await self.clean(entry, keep_files=keep_files)
        return left

    def _is_answered(self, entry: Entry) -> bool:
        ids = [member.request_id for member in self._book.members(entry)]
        return len(self._ledger.get(ids)) == len(ids)

    async def _finished(self, entry: Entry) -> Entry:
        """Learn the files of a batch whose answers are known; a server that is away can wait."""
        try:
            batch = await self._server.batch(entry.batch_id or "")
            if batch.status not in ENDED:
                return entry
            entry, tally = await self.collect(entry, batch)
        except NotThere:
            return self._book.collected(entry, entry.files)
        except RemoteError:
            return entry
        # What the server has lost is not missed: the answers are here.
        return self._book.collected(entry, entry.files) if tally.gone else entry


class _Reader:
    """Reads the lines of one batch."""

    def __init__(self, entry: Entry, members: Sequence[Member], ledger: Ledger) -> None:
        self._entry = entry
        self._ledger = ledger
        self._ids = {member.request_id for member in members}
        self._open = self._ids - ledger.get(list(self._ids)).keys()
        self._batch: list[tuple[str, Answer]] = []
        self.tally = Tally()

    def take(self, text: bytes) -> None:
        if not text.strip():
            return
        line = read_line(text, chat=self._entry.chat, model=self._entry.model)
        if line.request_id is None:
            self.tally.damaged += 1
        elif line.request_id not in self._ids:
            self.tally.strangers += 1
        elif line.request_id not in self._open:
            return
        elif isinstance(line.result, Failure):
            self.tally.failures[line.request_id] = line.result
        else:
            self._open.discard(line.request_id)
            self._batch.append((line.request_id, line.result))
            if len(self._batch) >= _AT_ONCE:
                self._store()

    def end(self) -> Tally:
        """Store the rest, and say what became of every request."""
        self._store()
        tally, default = self.tally, DAMAGED if self.tally.damaged else MISSING
        if not self._entry.ours:
            default = NOT_IN_IT
        tally.failures = {name: tally.failures.get(name, default) for name in sorted(self._open)}
        if not tally.gone:
            self._note_failures()
        return tally

    def _note_failures(self) -> None:
        """Attempts that failed, for the ledger; one that may be charged for counts in full."""
        failed = [(name, one) for name, one in self.tally.failures.items() if one.counts]
        share = self._entry.worst.share(max(len(self._ids), 1))
        with self._ledger.transactions():
            for name, failure in failed:
                taken = share if failure.may_cost else NOTHING
                mark = self._ledger.write_begin(name, taken)
                self._ledger.write_fail(mark, failure.reason, taken)
                self.tally.usd += taken.usd
                self.tally.lost_tokens += taken.tokens

    def _store(self) -> None:
        if not self._batch:
            return
        with self._ledger.transactions():
            for request_id, answer in self._batch:
                mark = self._ledger.write_begin(request_id, NOTHING)
                self._ledger.write_answer(mark, request_id, answer, self._cost(answer))
        for request_id, answer in self._batch:
            self.tally.answered.add(request_id)
            self.tally.prompt_tokens += answer.prompt_tokens
            self.tally.completion_tokens += answer.completion_tokens
            self.tally.usd += self._cost(answer) or 0.0
        self._batch = []

    def _cost(self, answer: Answer) -> float | None:
        price = self._entry.price
        if price is None:
            return None
        return price.cost(answer.prompt_tokens, answer.completion_tokens)
