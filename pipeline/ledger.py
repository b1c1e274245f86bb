"""The ledger: every answer of a language model is kept here before it is used.

One SQLite file in the cache's folder. An answer is stored under its request's id, with a digest of
its own, in a transaction that is on the disk before anything else sees the answer; a rerun reads it
here instead of asking again. Each attempt is marked before it is sent, so what was in flight when a
process died is known: it may be sent again, and it counts against the budget.

    answers    request_id, take -> text, finish_reason, tokens, model, cost, digest
    attempts   one row an attempt: its request, its outcome, the most that it can have taken
    given_up   request_id -> why it got no answer, after all its attempts; none once it has one
    failed     plan, round, position -> where a plan got no answer, or none that is whole

A request has one answer, take 0, unless it was asked again because that one was refused or cut: the
later takes stand beside it, and the last one counts. What `failed` says (`failures`) holds as far
as the manifest has come, since captions are published there: rows beyond are void.

WAL with `synchronous=FULL` on a local disk. WAL needs memory shared between processes, which
network file systems do not give, so there a rollback journal is used. The caller holds the cache's
lease, so there is one writer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.failures import NO_TAKE, FailedPlaces
from pipeline.ledger_format import ANSWERED, FILE_NAME, LOST, OPEN, damaged, prepare, told
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.base import Answer
from pipeline.stored_answer import digest_of, stored_answer
from pipeline.transactions import Transactions

__all__ = ["FILE_NAME", "Ledger", "Totals", "open_ledger"]

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
        lost_tokens: The most that lost attempts, and failed ones that may cost, can have taken.
    """

    answers: int
    attempts: int
    lost: int
    prompt_tokens: int
    completion_tokens: int
    usd: float
    lost_tokens: int

    @property
    def spent(self) -> Amount:
        """What counts against the budget of the cache."""
        return Amount(self.usd, self.prompt_tokens + self.completion_tokens + self.lost_tokens)


class Ledger:
    """The answers of one cache; use `open_ledger`.

    Args:
        path: The file.
        connection: To it.
        plan: Key of the plan that is worked on.
        after: Takes that are not wanted any more: of these requests, only later ones count.
        transactions: Of the connection, where it has some.

    Attributes:
        failures: Where the plan failed.
        transactions: Of the connection.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        plan: str = "",
        after: Mapping[str, int] | None = None,
        transactions: Transactions | None = None,
    ) -> None:
        self.path = path
        self._connection = connection
        self.transactions = transactions or Transactions(path, connection)
        self._plan = plan
        self._after = after
        self.failures = FailedPlaces(path, connection, plan, self.transactions)

    def asking_again(self, takes: Mapping[str, int]) -> Ledger:
        """A view for requests that are asked again: it knows no answer up to these takes, keeps new
        ones beside them, and has given up on nothing.

        Args:
            takes: The last take that was judged, by request id.
        """
        return Ledger(self.path, self._connection, self._plan, takes, self.transactions)

    def get(self, request_ids: Sequence[str]) -> dict[str, Answer]:
        """Return the answers that are there, by request id; the last take of each.

        Raises:
            DamagedError: If an answer does not match its digest, or the file cannot be read.
        """
        found = {}
        rows = self._where(
            "SELECT request_id, take, digest, text, finish_reason, prompt_tokens, "
            "completion_tokens, model FROM answers WHERE request_id IN",
            request_ids,
            "ORDER BY request_id, take",
        )
        for request_id, take, digest, *fields in rows:
            answer = stored_answer(request_id, digest, fields)
            if not isinstance(take, int):  # a flipped bit can make a number a text
                answer = None
            elif take <= self._judged(request_id):
                continue
            if answer is None:
                raise damaged(self.path, f"the answer to {request_id} was altered")
            found[request_id] = answer
        return found

    def given_up(self, request_ids: Sequence[str]) -> dict[str, str]:
        """Return why requests got no answer, by request id: they are not asked again."""
        if self._after is not None:
            return {}
        query = "SELECT request_id, reason FROM given_up WHERE request_id IN"
        return dict(self._where(query, request_ids))

    def begin(self, attempts: Iterable[tuple[str, Amount]]) -> list[int]:
        """Mark attempts as in flight, in one transaction; on the disk when this returns.

        Args:
            attempts: Request id, and the most that the attempt can take.

        Returns:
            A number for each attempt.
        """
        with self.transactions():
            return [self.write_begin(request_id, worst) for request_id, worst in attempts]

    def fail(self, attempt: int, outcome: str, taken: Amount = NOTHING) -> None:
        """Mark an attempt as failed, why (a word), and what it may have taken all the same."""
        with self.transactions():
            self.write_fail(attempt, outcome, taken)

    def store(self, answers: Iterable[tuple[int, str, Answer, float | None]]) -> None:
        """Keep answers, in one transaction; on the disk when this returns. What is there stays.

        Args:
            answers: Attempt, request id, answer, and its cost in USD if the price is known.
        """
        with self.transactions():
            for attempt, request_id, answer, usd in answers:
                self.write_answer(attempt, request_id, answer, usd)

    def write_begin(self, request_id: str, worst: Amount) -> int:
        """`begin` for one attempt, inside a transaction; returns its number."""
        row = self._connection.execute(
            "INSERT INTO attempts (request_id, outcome, worst_usd, worst_tokens, plan) "
            "VALUES (?, ?, ?, ?, ?)",
            (request_id, OPEN, worst.usd, worst.tokens, self._plan),
        )
        return row.lastrowid or 0

    def write_fail(self, attempt: int, outcome: str, taken: Amount) -> None:
        """`fail`, inside a transaction."""
        self._connection.execute(
            "UPDATE attempts SET outcome = ?, worst_usd = ?, worst_tokens = ? WHERE id = ?",
            (outcome, taken.usd, taken.tokens, attempt),
        )

    def write_answer(
        self, attempt: int, request_id: str, answer: Answer, usd: float | None
    ) -> None:
        """`store` for one answer, inside a transaction."""
        self._connection.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request_id,
                self._judged(request_id) + 1,
                self._plan,
                answer.text,
                answer.finish_reason,
                answer.prompt_tokens,
                answer.completion_tokens,
                answer.model,
                usd,
                digest_of(request_id, answer),
            ),
        )
        self._connection.execute("DELETE FROM given_up WHERE request_id = ?", (request_id,))
        self._connection.execute(
            "UPDATE attempts SET outcome = ?, worst_usd = 0, worst_tokens = 0 WHERE id = ?",
            (ANSWERED, attempt),
        )

    def give_up(self, requests: Iterable[tuple[str, str]]) -> None:
        """Record requests that got no answer, in one transaction; an answer that is there stays.

        Args:
            requests: Request id, and why.
        """
        with self.transactions():
            self._connection.executemany(
                "INSERT OR REPLACE INTO given_up SELECT ?1, ?2, ?3 "
                "WHERE NOT EXISTS (SELECT 1 FROM answers WHERE request_id = ?1)",
                [(request_id, self._plan, reason) for request_id, reason in requests],
            )

    def totals(self) -> Totals:
        """Return what the ledger holds; reads every row."""
        with told(self.path):
            answers = self._connection.execute(
                "SELECT count(*), coalesce(sum(prompt_tokens), 0), "
                "coalesce(sum(completion_tokens), 0), coalesce(sum(usd), 0.0) FROM answers"
            ).fetchone()
            attempts = self._connection.execute(
                "SELECT count(*), coalesce(sum(outcome = ?), 0), coalesce(sum(worst_usd), 0.0), "
                "coalesce(sum(worst_tokens), 0) FROM attempts WHERE outcome != ?",
                (LOST, OPEN),
            ).fetchone()
        return Totals(
            answers=answers[0],
            attempts=attempts[0],
            lost=attempts[1],
            prompt_tokens=answers[1],
            completion_tokens=answers[2],
            usd=answers[3] + attempts[2],
            lost_tokens=attempts[3],
        )

    @contextmanager
    def tables(self) -> Iterator[sqlite3.Connection]:
        """One transaction for those who keep tables of their own in this file."""
        with self.transactions():
            yield self._connection

    def close(self) -> None:
        """Close the file."""
        self.transactions.close()
        self._connection.close()

    def _judged(self, request_id: str) -> int:
        return NO_TAKE if self._after is None else self._after.get(request_id, NO_TAKE)

    def _where(self, query: str, ids: Sequence[str], order: str = "") -> list[Any]:
        rows: list[Any] = []
        with told(self.path):
            for begin in range(0, len(ids), _AT_ONCE):
                some = ids[begin : begin + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows += self._connection.execute(f"{query} ({marks}) {order}", some)
        return rows


@contextmanager
def open_ledger(folder: Path, plan: str = "") -> Iterator[Ledger]:
    """Open the ledger of the cache in `folder`, made if it is not there.

    The caller holds the cache's lease, so attempts that are still open belong to a process that is
    gone: they are marked as lost.

    Args:
        folder: The cache.
        plan: Key of the plan that is worked on.

    Raises:
        DamagedError: If the file is not a ledger, or cannot be read.
        StorageError: If the disk is full, or the folder cannot be written.
        VersionMismatchError: If a newer version wrote it.
    """
    path = folder / FILE_NAME
    with told(path):
        connection = sqlite3.connect(
            path, isolation_level=None, timeout=10.0, check_same_thread=False
        )
    ledger = Ledger(path, connection, plan)
    try:
        with told(path):
            prepare(connection, path)
        yield ledger
    finally:
        ledger.close()
