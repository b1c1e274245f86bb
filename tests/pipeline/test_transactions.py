from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from cache_store.errors import DamagedError
from pipeline.transactions import Transactions


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        tmp_path / "t.sqlite", isolation_level=None, check_same_thread=False
    )
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    return connection


def rows(tmp_path: Path) -> list[int]:
    """What another process would see."""
    other = sqlite3.connect(tmp_path / "t.sqlite")
    try:
        return [row[0] for row in other.execute("SELECT n FROM t ORDER BY n")]
    finally:
        other.close()


def test_writes_together_are_one_transaction_on_the_disk(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    transactions = Transactions(tmp_path / "t.sqlite", connection)

    def write(number: int) -> int | None:
        return connection.execute("INSERT INTO t VALUES (?)", (number,)).lastrowid

    async def go() -> list[int]:
        results: list[int] = await transactions.together([lambda: write(3), lambda: write(5)])
        assert rows(tmp_path) == [3, 5]
        return results

    assert asyncio.run(go()) == [3, 5]
    transactions.close()
    connection.close()


def test_the_commit_leaves_the_loop_free_and_what_needs_the_connection_waits(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    transactions = Transactions(tmp_path / "t.sqlite", connection)
    # A reader's lock holds the commit up for as long as we want.
    reader = sqlite3.connect(tmp_path / "t.sqlite", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()

    async def go() -> None:
        writing = asyncio.create_task(
            transactions.together([lambda: connection.execute("INSERT INTO t VALUES (1)")])
        )
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not writing.done(), "the loop runs while the disk is busy"
        threading.Timer(0.1, reader.execute, ["COMMIT"]).start()
        with transactions():  # begins only when the other is through
            connection.execute("INSERT INTO t VALUES (2)")
        await writing

    asyncio.run(go())
    assert rows(tmp_path) == [1, 2]
    transactions.close()
    reader.close()
    connection.close()


def test_a_write_that_fails_takes_the_others_of_its_transaction_along(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    transactions = Transactions(tmp_path / "t.sqlite", connection)
    good = lambda: connection.execute("INSERT INTO t VALUES (1)")  # noqa: E731
    bad = lambda: connection.execute("INSERT INTO nowhere_to_be_found.t VALUES (1)")  # noqa: E731

    async def go() -> None:
        with pytest.raises(DamagedError):
            await transactions.together([good, bad])
        await transactions.together([good])

    asyncio.run(go())
    assert rows(tmp_path) == [1]
    transactions.close()
    connection.close()
