"""How a batch gets to the server, and how one is found there by a process that did not send it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import IO

from pipeline.llm.batch.book import Book, Entry
from pipeline.llm.batch.choose import Chosen
from pipeline.llm.batch.lines import CHAT_ENDPOINT, COMPLETION_ENDPOINT, input_line
from pipeline.llm.batch.model import BatchModel
from pipeline.llm.batch.pending import Pending, PendingBatches
from pipeline.llm.batch.remote import is_of_use
from pipeline.llm.batch.rounds import Member, is_of_plan, metadata, round_name, span
from pipeline.llm.source import Job

_CHUNK = 256  # requests looked up in the ledger at a time


class Submitter:
    """Submits the batches of one plan.

    Args:
        job: The plan, the ledger and the budget.
        plan: The key under which its batches are found again.
        model: Who answers.
        book: Where batches are written down.
    """

    def __init__(self, job: Job, plan: str, model: BatchModel, book: Book) -> None:
        self._job = job
        self._plan = plan
        self._model = model
        self._book = book

    async def submit(self, chosen: Chosen, content: IO[bytes]) -> Pending:
        """Write a new batch down, then send it.

        Args:
            chosen: Its requests.
            content: Its file.

        Raises:
            RemoteError: If the server will not have it; it stays in the book as planned.
        """
        entry = self._book.plan(
            plan=self._plan,
            name=round_name(member.request_id for member in chosen.members),
            address=self._model.server.address,
            model=self._model.model,
            chat=chosen.chat,
            members=chosen.members,
            worst=chosen.worst,
            price=self._job.budget.price,
        )
        return await self._send(entry, chosen.members, content)

    async def resume(self, entry: Entry) -> Pending | None:
        """Go on with a batch that was written down, and sent or not.

        Returns:
            The batch; None if it was not sent and its requests are asked no more.

        Raises:
            RemoteError: If the server will not have it.
        """
        members = self._placed(self._book.members(entry))
        if entry.state == "submitted":
            return Pending(entry, members)
        with tempfile.TemporaryFile() as content:
            for member in members:
                content.write(input_line(self._job.request(member.position), self._model.dialect))
            if not members:
                self._book.done(entry)
                return None
            return await self._send(entry, members, content)

    async def adopt(self, pending: PendingBatches) -> list[Pending]:
        """Batches of this plan at the server that no book of ours knows.

        There are some when a cache was lost, or another has the same plan. What they hold is known
        by the span of their positions, so roughly.
        """
        adopted: list[Pending] = []
        known = self._book.known()
        for batch in await self._model.server.recent():
            if batch.id in known or not is_of_plan(batch.metadata, self._plan):
                continue
            if not is_of_use(batch):
                continue
            members = self._open_in(span(batch.metadata or {}), pending)
            entry = self._book.plan(
                plan=self._plan,
                name=(batch.metadata or {}).get("round", ""),
                address=self._model.server.address,
                model=self._model.model,
                chat=batch.endpoint == CHAT_ENDPOINT,
                members=members,
                price=self._job.budget.price,
                batch_id=batch.id,
            )
            if members:
                adopted.append(Pending(entry, members))
            else:
                self._book.done(entry)
        return adopted

    async def _send(self, entry: Entry, members: Sequence[Member], content: IO[bytes]) -> Pending:
        batch = await self._model.server.submit(
            entry.round,
            content,
            endpoint=CHAT_ENDPOINT if entry.chat else COMPLETION_ENDPOINT,
            carried=metadata(self._plan, entry.round, members),
            others=self._book.known(),
        )
        entry = self._book.submitted(entry, batch.id, batch.input_file_id)
        return Pending(entry, members, batch)

    def _placed(self, members: Sequence[Member]) -> list[Member]:
        """Those that the job still has, at the position where it has them."""
        if self._job.length is None:
            return [one for one in members if self._job.request(one.position).id == one.request_id]
        places = {self._job.request(place).id: place for place in range(self._job.length)}
        return [
            Member(one.request_id, places[one.request_id], one.attempt)
            for one in members
            if one.request_id in places
        ]

    def _open_in(self, positions: range, pending: PendingBatches) -> list[Member]:
        """The requests at these positions that have no answer and are in no batch of ours."""
        members = []
        for begin in range(positions.start, positions.stop, _CHUNK):
            some = range(begin, min(begin + _CHUNK, positions.stop))
            ids = [self._job.request(position).id for position in some]
            answered = self._job.ledger.get(ids)
            members += [
                Member(request_id, position)
                for position, request_id in zip(some, ids, strict=True)
                if request_id not in answered and request_id not in pending
            ]
        return members
