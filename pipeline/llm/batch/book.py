"""The book: which batches a cache has at the server.

Two tables of the ledger's file. A round is written down before anything of it is sent, and crossed
out when its answers are in the ledger, so at any moment the book says what to look for.

    planned     about to be submitted; the server may have it or not
    submitted   the server has it
    collected   its answers are in the ledger; its files may still be at the server
    done        nothing of it is left to do

What a batch may take at most stands in its row until its answers, with what they took, are in the
ledger.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.batch.rounds import Member
from pipeline.llm.prices import Price

if TYPE_CHECKING:
    from pipeline.ledger import Ledger

# What follows a plan's key where a choice of its requests is asked again, by other positions.
RETRY: Final = ".retry"

State = Literal["planned", "submitted", "collected", "done"]

_TABLES = (
    """CREATE TABLE IF NOT EXISTS batches (
        number INTEGER PRIMARY KEY,
        state TEXT NOT NULL,
        plan TEXT NOT NULL,
        round TEXT NOT NULL,
        address TEXT NOT NULL,
        model TEXT NOT NULL,
        chat INTEGER NOT NULL,
        ours INTEGER NOT NULL,
        batch_id TEXT,
        files TEXT NOT NULL,
        worst_usd REAL NOT NULL,
        worst_tokens INTEGER NOT NULL DEFAULT 0,
        price TEXT
    )""",
    """CREATE TABLE IF NOT EXISTS batch_requests (
        batch INTEGER NOT NULL,
        request_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        PRIMARY KEY (batch, request_id)
    ) WITHOUT ROWID""",
)
_COLUMNS = (
    "number, state, plan, round, address, model, chat, ours, batch_id, files, worst_usd, "
    "worst_tokens, price"
)
_SETTLED = "worst_usd = 0, worst_tokens = 0"


@dataclass(frozen=True)
class Entry:
    """A batch in the book.

    Attributes:
        number: Its row.
        state: How far it has come.
        plan: The key of its plan.
        round: The name of its requests.
        address: The server's address.
        model: The model's name.
        chat: Whether it goes to the chat endpoint.
        ours: Whether this cache submitted it; False for one found at the server.
        batch_id: The server's name for it, None before it has one.
        files: Ids of its files at the server, as far as they are known.
        worst: The most that it can take.
        price: What its tokens cost, None if that is not known.
    """

    number: int
    state: State
    plan: str
    round: str
    address: str
    model: str
    chat: bool
    ours: bool
    batch_id: str | None
    files: tuple[str, ...]
    worst: Amount
    price: Price | None


class Book:
    """The batches of one cache.

    Args:
        ledger: The open ledger of the cache; its file holds the book.

    Raises:
        StorageError: If the disk is full, or the folder cannot be written.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        with ledger.tables() as connection:
            for table in _TABLES:
                connection.execute(table)

    def plan(
        self,
        *,
        plan: str,
        name: str,
        address: str,
        model: str,
        chat: bool,
        members: Sequence[Member],
        worst: Amount = NOTHING,
        price: Price | None = None,
        batch_id: str | None = None,
    ) -> Entry:
        """Write down a round that is about to be submitted; on the disk when this returns.

        Args:
            plan: The key of its plan.
            name: The round's name.
            address: The server's address.
            model: The model's name.
            chat: Whether it goes to the chat endpoint.
            members: Its requests.
            worst: The most that it can take.
            price: What its tokens cost.
            batch_id: Of a batch that was found at the server, and is not ours.
        """
        state = "planned" if batch_id is None else "submitted"
        spelled = None if price is None else json.dumps([price.input, price.output])
        with self._ledger.tables() as connection:
            row = connection.execute(
                "INSERT INTO batches (state, plan, round, address, model, chat, ours, batch_id, "
                "files, worst_usd, worst_tokens, price) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, '[]', ?, ?, ?)",
                (
                    *(state, plan, name, address, model, chat, batch_id is None),
                    *(batch_id, worst.usd, worst.tokens, spelled),
                ),
            )
            number = row.lastrowid or 0
            connection.executemany(
                "INSERT INTO batch_requests VALUES (?, ?, ?, ?)",
                ((number, one.request_id, one.position, one.attempt) for one in members),
            )
            return _entry(_row(connection, number))

    def submitted(self, entry: Entry, batch_id: str, file_id: str) -> Entry:
        """The server has it, under this name, made from this file."""
        return self._set(entry, "state = 'submitted', batch_id = ?", batch_id, files=(file_id,))

    def collected(self, entry: Entry, files: Sequence[str]) -> Entry:
        """Its answers are in the ledger; these files of it may still be at the server."""
        return self._set(entry, f"state = 'collected', {_SETTLED}", files=files)

    def done(self, entry: Entry) -> None:
        """Nothing of it is left to do; its name is kept, so that it is not taken for another."""
        with self._ledger.tables() as connection:
            connection.execute(
                f"UPDATE batches SET state = 'done', files = '[]', {_SETTLED} WHERE number = ?",
                (entry.number,),
            )
            connection.execute("DELETE FROM batch_requests WHERE batch = ?", (entry.number,))

    def open(self) -> list[Entry]:
        """What is not done, oldest first."""
        with self._ledger.tables() as connection:
            return [entry for entry, _ in open_batches(connection)]

    def members(self, entry: Entry) -> list[Member]:
        """The requests of a batch, in the order of the plan."""
        with self._ledger.tables() as connection:
            rows = connection.execute(
                "SELECT request_id, position, attempt FROM batch_requests WHERE batch = ? "
                "ORDER BY position",
                (entry.number,),
            ).fetchall()
        return [Member(*row) for row in rows]

    def known(self) -> set[str]:
        """The server's names of all batches that ever stood here."""
        with self._ledger.tables() as connection:
            rows = connection.execute(
                "SELECT batch_id FROM batches WHERE batch_id IS NOT NULL"
            ).fetchall()
        return {row[0] for row in rows}

    def _set(self, entry: Entry, change: str, *values: object, files: Sequence[str]) -> Entry:
        with self._ledger.tables() as connection:
            connection.execute(
                f"UPDATE batches SET {change}, files = ? WHERE number = ?",
                (*values, json.dumps(list(files)), entry.number),
            )
            return _entry(_row(connection, entry.number))


def open_batches(connection: sqlite3.Connection) -> list[tuple[Entry, int]]:
    """What is not done, oldest first, and how many requests each holds; [] without a book.

    Args:
        connection: To a ledger's file, to read or to write.
    """
    tables = "SELECT count(*) FROM sqlite_master WHERE name = 'batches'"
    if not connection.execute(tables).fetchone()[0]:
        return []
    rows = connection.execute(
        f"SELECT {_COLUMNS}, (SELECT count(*) FROM batch_requests WHERE batch = number) "
        "FROM batches WHERE state != 'done' ORDER BY number"
    ).fetchall()
    return [(_entry(row[:-1]), row[-1]) for row in rows]


def _row(connection: sqlite3.Connection, number: int) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(
        f"SELECT {_COLUMNS} FROM batches WHERE number = ?", (number,)
    ).fetchone()
    return row


def _entry(row: tuple[Any, ...]) -> Entry:
    number, state, plan, name, address, model, chat, ours, batch_id, files, *worst, price = row
    return Entry(
        number=number,
        state=state,
        plan=plan,
        round=name,
        address=address,
        model=model,
        chat=bool(chat),
        ours=bool(ours),
        batch_id=batch_id,
        files=tuple(json.loads(files)),
        worst=Amount(*worst),
        price=None if price is None else Price(*json.loads(price)),
    )
