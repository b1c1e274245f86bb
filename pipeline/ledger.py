"""The ledger: every answer of a language model is kept here before it is used.

One SQLite file in the cache's folder. An answer is stored under its request's id, with a digest of
its own, in a transaction that is on the disk before anything else sees the answer; a rerun reads it
here instead of asking again. Each attempt is marked before it is sent, so what was in flight when a
process died is known: it may be sent again, and it counts against the budget.

    answers    request_id -> text, finish_reason, tokens, model, cost, digest
    attempts   one row an attempt: its request, its outcome, the most that it can have cost

WAL with `synchronous=FULL` on a local disk. WAL needs memory shared between processes, which
network file systems do not give, so there a rollback journal is used. The caller holds the cache's
lease, so there is one writer.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cache_store.errors import DamagedError, StorageError, VersionMismatchError
from pipeline.journal import journal_mode
from pipeline.llm.base import Answer

FILE_NAME = "ledger.sqlite"
VERSION = 1  # PRAGMA user_version

OPEN, ANSWERED, LOST = "open", "answered", "lost"

_TABLES = (
    """CREATE TABLE answers (
        request_id TEXT PRIMARY KEY,
        text TEXT NOT NULL,
        finish_reason TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        model TEXT NOT NULL,
        usd REAL,
        digest TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL,
        outcome TEXT NOT NULL,
        worst_usd REAL NOT NULL
    )""",
    "CREATE INDEX open_attempts ON attempts (outcome) WHERE outcome = 'open'",
)

_AT_ONCE = 500  # ids a query; SQLite's oldest limit on parameters is 999


@dataclass(frozen=True)
class Totals:
    """What the ledger holds.

    Attributes:
        answers: Answers kept.
        attempts: Attempts ever sent, failed and lost ones included.
        lost: Attempts that were in flight when a process died.
        prompt_tokens: Tokens read, by all answers.
        completion_tokens: Tokens written, by all answers.
        usd: Cost of the answers whose price was known, and the most that lost ones can have cost.
    """

    answers: int
    attempts: int
    lost: int
    prompt_tokens: int
    completion_tokens: int
    usd: float


class Ledger:
    """The answers of one cache; use `open_ledger`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def get(self, request_ids: Sequence[str]) -> dict[str, Answer]:
        """Return the answers that are there, by request id.

        Raises:
            DamagedError: If an answer does not match its digest, or the file cannot be read.
        """
        found = {}
        with _faults(self.path):
            for begin in range(0, len(request_ids), _AT_ONCE):
                some = request_ids[begin : begin + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(
                    "SELECT request_id, text, finish_reason, prompt_tokens, completion_tokens, "
                    f"model, digest FROM answers WHERE request_id IN ({marks})",
                    some,
                )
                for request_id, *fields, digest in rows:
                    answer = Answer(*fields)
                    if _digest(request_id, answer) != digest:
                        raise _damaged(self.path, f"the answer to {request_id} was altered")
                    found[request_id] = answer
        return found

    def begin(self, attempts: Iterable[tuple[str, float]]) -> list[int]:
        """Mark attempts as in flight, in one transaction; on the disk when this returns.

        Args:
            attempts: Request id, and the most that the attempt can cost in USD.

        Returns:
            A number for each attempt.
        """
        numbers = []
        with self._transaction():
            for request_id, worst_usd in attempts:
                row = self._connection.execute(
                    "INSERT INTO attempts (request_id, outcome, worst_usd) VALUES (?, ?, ?)",
                    (request_id, OPEN, worst_usd),
                )
                numbers.append(row.lastrowid or 0)
        return numbers

    def fail(self, attempt: int, outcome: str, usd: float = 0.0) -> None:
        """Mark an attempt as failed.

        Args:
            attempt: Its number.
            outcome: Why, in a word.
            usd: What it may have cost all the same, as after a timeout.
        """
        with self._transaction():
            self._connection.execute(
                "UPDATE attempts SET outcome = ?, worst_usd = ? WHERE id = ?",
                (outcome, usd, attempt),
            )

    def store(self, answers: Iterable[tuple[int, str, Answer, float | None]]) -> None:
        """Keep answers, in one transaction; on the disk when this returns.

        Args:
            answers: Attempt, request id, answer, and its cost in USD if the price is known.
        """
        with self._transaction():
            for attempt, request_id, answer, usd in answers:
                self._connection.execute(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        request_id,
                        answer.text,
                        answer.finish_reason,
                        answer.prompt_tokens,
                        answer.completion_tokens,
                        answer.model,
                        usd,
                        _digest(request_id, answer),
                    ),
                )
                self._connection.execute(
                    "UPDATE attempts SET outcome = ?, worst_usd = 0 WHERE id = ?",
                    (ANSWERED, attempt),
                )

    def totals(self) -> Totals:
        """Return what the ledger holds; reads every row."""
        with _faults(self.path):
            answers = self._connection.execute(
                "SELECT count(*), coalesce(sum(prompt_tokens), 0), "
                "coalesce(sum(completion_tokens), 0), coalesce(sum(usd), 0.0) FROM answers"
            ).fetchone()
            attempts = self._connection.execute(
                "SELECT count(*), coalesce(sum(outcome = ?), 0), coalesce(sum(worst_usd), 0.0) "
                "FROM attempts WHERE outcome != ?",
                (LOST, OPEN),
            ).fetchone()
        return Totals(
            answers=answers[0],
            attempts=attempts[0],
            lost=attempts[1],
            prompt_tokens=answers[1],
            completion_tokens=answers[2],
            usd=answers[3] + attempts[2],
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _faults(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself after a full disk; there is nothing to undo then.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def open_ledger(folder: Path) -> Iterator[Ledger]:
    """Open the ledger of the cache in `folder`, made if it is not there.

    The caller holds the cache's lease, so attempts that are still open belong to a process that is
    gone: they are marked as lost.

    Raises:
        DamagedError: If the file is not a ledger, or cannot be read.
        StorageError: If the disk is full, or the folder cannot be written.
        VersionMismatchError: If a newer version wrote it.
    """
    path = folder / FILE_NAME
    with _faults(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    ledger = Ledger(path, connection)
    try:
        with _faults(path):
            _prepare(connection, path)
        yield ledger
    finally:
        ledger.close()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise VersionMismatchError(
            "the ledger was written by a newer version of lqtse",
            where=path,
            expected=f"format {VERSION}",
            found=f"format {version}",
            hint="Update lqtse: pip install -U lqtse",
        )
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise _damaged(path, "tables that are not ours")
    connection.execute(f"PRAGMA journal_mode={journal_mode(path)}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")
    if version == 0:
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("UPDATE attempts SET outcome = ? WHERE outcome = ?", (LOST, OPEN))
    connection.execute("COMMIT")


def _digest(request_id: str, answer: Answer) -> str:
    parts = (
        request_id,
        answer.text,
        answer.finish_reason,
        str(answer.prompt_tokens),
        str(answer.completion_tokens),
        answer.model,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _damaged(path: Path, found: object) -> DamagedError:
    return DamagedError(
        "the ledger is damaged",
        where=path,
        found=found,
        hint="Restore it from a copy, or move it away: captions stay, "
        "answers not yet used will be asked for again",
    )


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one of our errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        # Python 3.10 has no error codes, so the (fixed, English) messages decide.
        text = str(error)
        if any(word in text for word in ("malformed", "no such table", "no such column")):
            raise _damaged(path, text) from error
        raise StorageError(
            "cannot use the ledger",
            where=path,
            found=text,
            hint="Nothing that was answered is lost: make room or give permission, "
            "then run the same command again",
        ) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
