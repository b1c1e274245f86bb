"""Which requests go into the next batch.

Those that are to be asked again come first, since results are handed on in plan order; then those
of the plan that nobody has asked. A batch that is not full is made only when the run would have to
wait for it anyway: estimates of what is needed change with every answer, and a batch of one takes
as many hours as one of thousands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.batch.lines import input_line
from pipeline.llm.batch.pending import PendingBatches
from pipeline.llm.batch.rounds import MOST_BYTES, Member
from pipeline.llm.dialect import Dialect
from pipeline.llm.source import Job
from prompts.request import Request

_CHUNK = 256  # requests looked up in the ledger at a time


@dataclass
class Chosen:
    """The requests of a batch to be.

    Attributes:
        members: The requests.
        chat: Whether they go to the chat endpoint.
        worst: The most that they can take; it is reserved in the budget.
        short: Whether the budget had no room for more.
    """

    members: list[Member] = field(default_factory=list)
    chat: bool = True
    worst: Amount = NOTHING
    short: bool = False


class Chooser:
    """Takes requests from a plan.

    Args:
        job: The plan, the ledger and the budget.
        pending: What is at the server.
        first: Position to begin with.

    Attributes:
        unsent: All positions below are answered, given up, at the server, or to be asked again.
    """

    def __init__(self, job: Job, pending: PendingBatches, first: int) -> None:
        self._job = job
        self._pending = pending
        self._again: dict[int, Member] = {}
        self.unsent = first

    def put_back(self, members: Iterable[Member]) -> None:
        """Ask these again, with the next batch."""
        for member in members:
            if self._job.length is None or member.position < self._job.length:
                self._again[member.position] = member

    def is_due(self, position: int, need: int, most: int) -> bool:
        """Whether to make a batch now.

        Args:
            position: The next to hand on; it has no answer.
            need: Results that are needed from there on.
            most: Requests in a batch.
        """
        if need <= 0:
            return False
        if self._again or position >= self.unsent:
            return True
        blocked = self._job.request(position).id not in self._pending
        return blocked or position + need - self.unsent >= most

    def take(
        self, reach: int, most: int, dialect: Dialect, content: IO[bytes], *, alone: bool = True
    ) -> Chosen:
        """Choose requests, reserve what they can take, and write the batch's file.

        Args:
            reach: Position to stop before.
            most: Requests in the batch.
            dialect: How the server wants to be asked.
            content: The file, open for writing.
            alone: Whether those that failed before may go without as many new ones beside them,
                from beyond `reach` if need be.
        """
        chosen, size = Chosen(), 0
        beside = 0 if alone else sum(member.attempt > 1 for member in self._again.values())
        for member, request in self._candidates(reach, beside):
            line = input_line(request, dialect)
            if len(chosen.members) == most or size + len(line) > MOST_BYTES:
                break
            worst = self._job.budget.worst_case(request)
            if not self._job.budget.reserve(worst):
                chosen.short = True
                break
            content.write(line)
            size += len(line)
            chosen.members.append(member)
            chosen.worst += worst
            chosen.chat = request.is_chat
        return chosen

    def _candidates(self, reach: int, beside: int) -> Iterator[tuple[Member, Request]]:
        """What may be asked. One is used up when the next is wanted: the last may be left."""
        taken = sorted(self._again)
        for position in taken:
            yield self._again[position], self._job.request(position)
            del self._again[position]
        # What an earlier run sent, and this one took up, may lie beyond what this one has sent.
        done, new = frozenset(taken), 0
        while self.unsent < reach or new < beside:
            begin = self.unsent
            end = begin + _CHUNK if begin >= reach else min(begin + _CHUNK, reach)
            if self._job.length is not None:
                end = min(end, self._job.length)
            if begin >= end:
                return
            requests = [self._job.request(position) for position in range(begin, end)]
            ids = [request.id for request in requests]
            settled = self._job.ledger.get(ids).keys() | self._job.ledger.given_up(ids).keys()
            for position, request in enumerate(requests, begin):
                if position >= reach and new >= beside:
                    return
                free = request.id not in settled and request.id not in self._pending
                if free and position not in done:
                    new += 1
                    yield Member(request.id, position), request
                self.unsent = position + 1
