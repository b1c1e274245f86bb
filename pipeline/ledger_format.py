"""The ledger's file: its tables, the way from one format to the next, and what SQLite says of it.

Format 2 keeps several answers to one request, so that a request asked again after a refusal loses
nothing, and says for which plan an attempt was made, how many tokens it can have taken and where a
plan failed. Format 1 is brought up
in one transaction: killed in the middle, the file is what it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cache_store.errors import DamagedError, StorageError, VersionMismatchError
from pipeline.journal import journal_mode

FILE_NAME: Final = "ledger.sqlite"
VERSION: Final = 2  # PRAGMA user_version

OPEN, ANSWERED, LOST = "open", "answered", "lost"

_ANSWERS = """CREATE TABLE answers (
        request_id TEXT NOT NULL,
        take INTEGER NOT NULL,
        plan TEXT NOT NULL,
        text TEXT NOT NULL,
        finish_reason TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        model TEXT NOT NULL,
        usd REAL,
        digest TEXT NOT NULL,
        PRIMARY KEY (request_id, take)
    ) WITHOUT ROWID"""
_FAILURES = (
    """CREATE TABLE given_up (
        request_id TEXT PRIMARY KEY,
        plan TEXT NOT NULL,
        reason TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE failed (
        plan TEXT NOT NULL,
        round INTEGER NOT NULL,
        position INTEGER NOT NULL,
        request_id TEXT NOT NULL,
        take INTEGER NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (plan, round, position)
    ) WITHOUT ROWID""",
)
_NEW = (
    _ANSWERS,
    """CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL,
        outcome TEXT NOT NULL,
        worst_usd REAL NOT NULL,
        plan TEXT NOT NULL DEFAULT '',
        worst_tokens INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX open_attempts ON attempts (outcome) WHERE outcome = 'open'",
    *_FAILURES,
)
_FROM_1 = (
    "ALTER TABLE answers RENAME TO answers_1",
    _ANSWERS,
    "INSERT INTO answers SELECT request_id, 0, '', text, finish_reason, prompt_tokens, "
    "completion_tokens, model, usd, digest FROM answers_1",
    "DROP TABLE answers_1",
    "ALTER TABLE attempts ADD COLUMN plan TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE attempts ADD COLUMN worst_tokens INTEGER NOT NULL DEFAULT 0",
    *_FAILURES,
)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, or bring an older file up; attempts still open are marked as lost.

    Raises:
        DamagedError: If the file holds something else.
        VersionMismatchError: If a newer version wrote it.
    """
    version = version_of(connection, path)
    connection.execute(f"PRAGMA journal_mode={journal_mode(path)}")
    connection.execute("PRAGMA synchronous=FULL")
    # Half a MB of pages: rows are written once and hardly ever read again.
    connection.execute("PRAGMA cache_size=-512")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in {0: _NEW, 1: _FROM_1}.get(version, ()):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("UPDATE attempts SET outcome = ? WHERE outcome = ?", (LOST, OPEN))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The format of a file, 0 for an empty one.

    Raises:
        DamagedError: If the file was cut, or holds something else.
        VersionMismatchError: If a newer version wrote it.
    """
    # SQLite takes what is left of the first page for a new and empty file. With a journal beside it
    # a page may have been cut by an accident in the middle of writing, which SQLite makes good.
    size, page = path.stat().st_size, int(connection.execute("PRAGMA page_size").fetchone()[0])
    if size % page and not unfinished(path):
        raise damaged(path, f"{size} bytes, which are no whole pages: it was cut")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise VersionMismatchError(
            "the ledger was written by a newer version of lqtse",
            where=path,
            expected=f"format {VERSION}",
            found=f"format {version}",
            hint="Update lqtse: pip install -U lqtse",
        )
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise damaged(path, "tables that are not ours")
    return version


def unfinished(path: Path) -> list[Path]:
    """The journals beside a file that SQLite has yet to bring into it."""
    beside = [path.with_name(f"{path.name}{suffix}") for suffix in ("-journal", "-wal")]
    return [one for one in beside if one.exists() and one.stat().st_size > 0]


def damaged(path: Path, found: object) -> DamagedError:
    """The error of a ledger that cannot be trusted."""
    return DamagedError(
        "the ledger is damaged",
        where=path,
        found=found,
        hint="Restore it from a copy, or move it away: captions stay, "
        "answers not yet used will be asked for again",
    )


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one of our errors.

    Raises:
        DamagedError: If the file is no whole ledger.
        StorageError: If the disk is full, or the file cannot be read or written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        # Python 3.10 has no error codes, so the (fixed, English) messages decide.
        text = str(error)
        if any(word in text for word in ("malformed", "no such table", "no such column")):
            raise damaged(path, text) from error
        raise StorageError(
            "cannot use the ledger",
            where=path,
            found=text,
            hint="Nothing that was answered is lost: make room or give permission, "
            "then run the same command again",
        ) from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, error) from error
    except UnicodeDecodeError as error:  # also from SQLite's own words, where they quote the file
        raise damaged(path, "a text that is no text") from error
