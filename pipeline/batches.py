"""The batches that a cache has at servers: show them, cancel them, forget them.

Showing reads only, and works while `generate` waits. Cancelling keeps what the server has answered
already: it waits until a batch has ended, puts its answers into the ledger, and deletes its files.
Forgetting is for batches that are lost: their requests will be submitted, and paid, again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store import console
from cache_store.errors import EmptyInputError
from pipeline.ledger import open_ledger
from pipeline.ledger_counts import open_to_read
from pipeline.ledger_format import FILE_NAME, told
from pipeline.llm.address import public_address
from pipeline.llm.batch.book import RETRY, Book, Entry, open_batches
from pipeline.llm.batch.collect import Collector
from pipeline.llm.batch.faults import NotThere
from pipeline.llm.batch.remote import ENDED, BatchServer
from pipeline.llm.batch.verdict import gone

if TYPE_CHECKING:
    from openai.types import Batch

    from pipeline.ledger import Ledger

OpenServer = Callable[[str], BatchServer]
"""Makes the client of a server, given its address as the book has it."""


@dataclass(frozen=True)
class BatchStanding:
    """How one batch stands.

    Attributes:
        batch: The server's name for it, None if it may not have got there.
        server: The server's address.
        model: The model asked.
        plan: The key of its plan.
        status: As the server says; "planned" before it is there, "collected" when its answers are
            in the ledger, "unknown" if the server has no such batch.
        requests: Requests in it.
        completed: Requests answered so far, None if that is not known.
        failed: Requests that failed so far, None if that is not known.
        worst_usd: The most that it can cost, in USD, 0 without a price.
        worst_tokens: The most tokens that it can take, read and written.
    """

    batch: str | None
    server: str
    model: str
    plan: str
    status: str
    requests: int
    completed: int | None = None
    failed: int | None = None
    worst_usd: float = 0.0
    worst_tokens: int = 0


def batches(cache: str | Path, open_server: OpenServer) -> list[BatchStanding]:
    """Say how the batches of a cache stand; asks their servers, changes nothing.

    Raises:
        DataError: If there is no such cache, or its ledger is damaged.
        RemoteError: If a server cannot be asked.
    """
    from cache_store.layout import check_folder

    folder = Path(cache)
    check_folder(folder, create=False)
    with open_to_read(folder) as connection, told(folder / FILE_NAME):
        found = open_batches(connection) if connection is not None else []

    async def ask() -> list[BatchStanding]:
        async with _Servers(open_server) as servers:
            return [await _standing(servers, entry, many) for entry, many in found]

    return asyncio.run(ask())


async def _standing(servers: _Servers, entry: Entry, requests: int) -> BatchStanding:
    batch: Batch | None = None
    status: str = entry.state
    if entry.state == "submitted":
        status = "unknown"
        with suppress(NotThere):
            batch = await servers.of(entry).batch(entry.batch_id or "")
            status = batch.status
    counts = batch.request_counts if batch is not None else None
    return BatchStanding(
        batch=entry.batch_id,
        server=entry.address,
        model=entry.model,
        plan=entry.plan,
        status=status,
        requests=requests,
        completed=counts.completed if counts is not None else None,
        failed=counts.failed if counts is not None else None,
        worst_usd=entry.worst.usd,
        worst_tokens=entry.worst.tokens,
    )


@dataclass
class Cancelled:
    """What cancelling did.

    Attributes:
        batches: Batches that are no more.
        answers: Answers that they had, now in the ledger.
        requests: Requests without an answer.
        files_left: Files that could not be deleted.
    """

    batches: int = 0
    answers: int = 0
    requests: int = 0
    files_left: int = 0


def cancel_batches(
    cache: str | Path,
    open_server: OpenServer,
    *,
    poll: float = 5.0,
    keep_files: bool = False,
    note: Callable[[str], None] = console.note,
) -> Cancelled:
    """Cancel every batch of a cache, and keep what was answered already.

    Args:
        cache: The cache's folder.
        open_server: Makes the client of a server.
        poll: Seconds between two looks at a batch that is being cancelled.
        keep_files: Whether to leave files at the servers.
        note: Told what is waited for.

    Raises:
        DataError: If there is no such cache, or its ledger is damaged.
        LeaseHeldError: If another process writes to the cache.
        RemoteError: If a server cannot be asked; what was done stays done.
    """
    done = Cancelled()

    async def cancel(ledger: Ledger, entries: Sequence[Entry]) -> None:
        async with _Servers(open_server) as servers:
            for entry in entries:
                server = servers.of(entry)
                one = _Cancelling(server, Book(ledger), ledger, poll, keep_files, note)
                await one.cancel(entry, done)

    with _writing(cache) as folder:
        with open_ledger(folder) as ledger:
            entries = Book(ledger).open()
        for plan in dict.fromkeys(entry.plan for entry in entries):
            with open_ledger(folder, plan.removesuffix(RETRY)) as ledger:
                some = [entry for entry in entries if entry.plan == plan]
                asyncio.run(cancel(ledger, some))
    return done


def forget_batches(cache: str | Path) -> int:
    """Cross out every batch of a cache without asking its server; returns how many.

    Raises:
        DataError: If there is no such cache, or its ledger is damaged.
        LeaseHeldError: If another process writes to the cache.
    """
    with _writing(cache) as folder, open_ledger(folder) as ledger:
        book = Book(ledger)
        entries = book.open()
        for entry in entries:
            book.done(entry)
    return len(entries)


@contextmanager
def _writing(cache: str | Path) -> Iterator[Path]:
    """Hold the lease of a cache that has a ledger; yields its folder."""
    from cache_store.writer import open_writer

    with open_writer(cache, create=False) as writer:
        if not (writer.path / FILE_NAME).exists():
            raise EmptyInputError("there are no batches", where=cache, found="no ledger")
        yield writer.path


class _Cancelling:
    """Cancels the batches of one server."""

    def __init__(
        self,
        server: BatchServer,
        book: Book,
        ledger: Ledger,
        poll: float,
        keep_files: bool,
        note: Callable[[str], None],
    ) -> None:
        self._server = server
        self._book = book
        self._collector = Collector(server, book, ledger)
        self._poll = poll
        self._keep_files = keep_files
        self._note = note

    async def cancel(self, entry: Entry, done: Cancelled) -> None:
        """Cancel one batch, whatever its state."""
        requests = len(self._book.members(entry))
        if entry.state == "planned":
            entry = await self._sent(entry)
        if entry.state == "submitted":
            entry, answers = await self._collected(entry)
            done.answers += answers
            done.requests += requests - answers
        else:
            done.requests += requests if entry.state == "planned" else 0
        done.files_left += len(await self._collector.clean(entry, keep_files=self._keep_files))
        done.batches += 1

    async def _sent(self, entry: Entry) -> Entry:
        """A batch that was planned, as far as it got."""
        known = self._book.known()
        for batch in await self._server.recent():
            if (batch.metadata or {}).get("round") == entry.round and batch.id not in known:
                return self._book.submitted(entry, batch.id, batch.input_file_id)
        file_id = await self._server.input_file(entry.round)
        if file_id is not None and not self._keep_files:
            await self._server.delete(file_id)
        return entry

    async def _collected(self, entry: Entry) -> tuple[Entry, int]:
        """Wait until it has ended, and put its answers into the ledger."""
        batch_id = entry.batch_id or ""
        try:
            # One that another cache submitted is not ours to cancel, nor to wait for.
            if entry.ours:
                await self._server.cancel(batch_id)
            batch = await self._server.batch(batch_id)
            if entry.ours and batch.status not in ENDED:
                self._note(f"waiting for batch {batch_id} to be cancelled")
            while entry.ours and batch.status not in ENDED:
                await asyncio.sleep(self._poll)
                batch = await self._server.batch(batch_id)
        except NotThere:
            raise gone(self._server.address, batch_id, "a trace") from None
        entry, tally = await self._collector.collect(entry, batch)
        if tally.gone and entry.ours:
            raise gone(self._server.address, batch_id, "all answers")
        return entry, len(tally.answered)


class _Servers:
    """One client for each server that batches are at."""

    def __init__(self, open_server: OpenServer) -> None:
        self._open_server = open_server
        self._clients: dict[str, BatchServer] = {}

    async def __aenter__(self) -> _Servers:
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    def of(self, entry: Entry) -> BatchServer:
        """The client for the server of a batch."""
        if entry.address not in self._clients:
            self._clients[entry.address] = self._open_server(entry.address)
        return self._clients[entry.address]


def server_at(base_urls: Iterable[str], api_key: str | None) -> OpenServer:
    """Clients by the addresses in the book, with the credentials of an address that is given."""
    given = {public_address(url): url for url in base_urls}

    def open_server(address: str) -> BatchServer:
        return BatchServer(given.get(address, address), api_key=api_key)

    return open_server
