"""What a run knows of its batches at the server: which requests they hold, and how they stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.llm.batch.book import Entry
from pipeline.llm.batch.rounds import Member

if TYPE_CHECKING:
    from openai.types import Batch


@dataclass
class Pending:
    """One batch at the server.

    Attributes:
        entry: The batch in the book.
        members: Its requests.
        batch: How it stood when it was last looked at, None before.
        beside: How many others were at the server when it was sent.
    """

    entry: Entry
    members: Sequence[Member]
    batch: Batch | None = None
    beside: int = 0


class PendingBatches:
    """The batches that a run waits for."""

    def __init__(self) -> None:
        self._all: dict[int, Pending] = {}
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._ids

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._all.values()))

    @property
    def requests(self) -> int:
        """Requests in them."""
        return len(self._ids)

    def add(self, one: Pending) -> None:
        """Wait for this one too."""
        one.beside = len(self._all)
        self._all[one.entry.number] = one
        self._ids |= {member.request_id for member in one.members}

    def remove(self, one: Pending) -> None:
        """Wait for it no more."""
        del self._all[one.entry.number]
        self._ids -= {member.request_id for member in one.members}
        for other in self._all.values():  # a batch that was found may share some
            self._ids |= {member.request_id for member in other.members}

    def said(self) -> str:
        """How they stand, in words; "" if there are none."""
        if not self._all:
            return ""
        many = f"{len(self._all)} batches" if len(self._all) > 1 else "1 batch"
        return f"{many} at the server: {_states(one.batch for one in self._all.values())}"


def _states(batches: Iterable[Batch | None]) -> str:
    looked: Collection[Batch] = [batch for batch in batches if batch is not None]
    if not looked:
        return "submitted"
    names = list(dict.fromkeys(batch.status.replace("_", " ") for batch in looked))
    counts = [batch.request_counts for batch in looked if batch.request_counts is not None]
    done, failed = sum(one.completed for one in counts), sum(one.failed for one in counts)
    total = sum(one.total for one in counts)
    if not total:  # not counted yet
        return ", ".join(names)
    return f"{', '.join(names)}; {done:,} of {total:,} requests done, {failed:,} failed"
