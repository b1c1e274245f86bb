"""Count what a ledger holds, plan by plan, without touching it.

Reads beside a process that writes, and takes no lease. A file of format 1 is counted as it is; its
rows name no plan.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from pipeline.failures import Place, published_places
from pipeline.ledger_format import FILE_NAME, LOST, OPEN, damaged, told, version_of
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.base import Answer
from pipeline.llm.batch.book import Entry, open_batches
from pipeline.standing import Standing
from pipeline.stored_answer import stored_answer

_AT_ONCE = 500  # ids a query; SQLite's oldest limit on parameters is 999
_TOKENS = ("prompt_tokens", "completion_tokens", "worst_tokens")
_SUMMED = ("answers", "attempts_failed", "lost", *_TOKENS)
_WAL = 2  # the 19th byte of a file that is read with the help of a -wal file


@dataclass
class Counts:
    """What one plan has in the ledger.

    Attributes:
        answers: Answers paid for, later takes included.
        prompt_tokens: Tokens read, by these answers.
        completion_tokens: Tokens written, by these answers.
        usd: What they cost, and the most that failed and lost attempts can have cost; None if no
            price was ever known.
        attempts_failed: Attempts that brought nothing, lost ones left out.
        lost: Attempts in flight when a process died.
        open: Attempts marked as in flight.
        open_usd: The most that these can cost.
        worst_tokens: The most that attempts without an answer, open ones included, can have taken.
        given_up: Requests that got no answer, with the reason.
    """

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    attempts_failed: int = 0
    lost: int = 0
    open: int = 0
    open_usd: float = 0.0
    worst_tokens: int = 0
    given_up: dict[str, str] = field(default_factory=dict)

    @property
    def spent(self) -> Amount:
        """What counts against a budget, open attempts included."""
        tokens = sum(getattr(self, name) for name in _TOKENS)
        return Amount((self.usd or 0.0) + self.open_usd, tokens)

    def add(self, other: Counts) -> None:
        """Count another's in."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.open, self.open_usd = self.open + other.open, self.open_usd + other.open_usd
        if other.usd is not None:
            self.usd = (self.usd or 0.0) + other.usd
        self.given_up |= other.given_up


class LedgerReader:
    """A ledger to read; use `read_ledger`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, version: int) -> None:
        self._path = path
        self._connection = connection
        self._version = version

    def counts(self) -> dict[str, Counts]:
        """What each plan has, by key; "" for rows of a format that did not note it."""
        if self._version == 0:
            return {}
        found: dict[str, Counts] = {}
        plan, worst = ("plan", "worst_tokens") if self._version > 1 else ("''", "0")
        with told(self._path):
            for key, answers, read, written, usd in self._connection.execute(
                f"SELECT {plan} AS p, count(*), sum(prompt_tokens), sum(completion_tokens), "
                "sum(usd) FROM answers GROUP BY p"
            ):
                found[key] = Counts(answers, read, written, usd)
            for key, failed, lost, opened, usd, open_usd, tokens in self._connection.execute(
                f"SELECT {plan} AS p, sum(outcome NOT IN ('answered', 'cancelled', ?1, ?2)), "
                "sum(outcome = ?1), sum(outcome = ?2), sum(worst_usd * (outcome != ?2)), "
                f"sum(worst_usd * (outcome = ?2)), sum({worst}) "
                "FROM attempts GROUP BY p",
                (LOST, OPEN),
            ):
                one = found.setdefault(key, Counts())
                one.attempts_failed, one.lost, one.open = failed, lost, opened
                one.open_usd, one.worst_tokens = open_usd, tokens
                if usd:
                    one.usd = (one.usd or 0.0) + usd
            if self._version > 1:
                query = "SELECT plan, request_id, reason FROM given_up"
                for key, request_id, reason in self._connection.execute(query):
                    found.setdefault(key, Counts()).given_up[request_id] = reason
        return found

    def spent(self) -> Amount:
        """What counts against the budget of the cache: answers and attempts, open ones included."""
        return sum((one.spent for one in self.counts().values()), NOTHING)

    def answers(self, request_ids: Sequence[str]) -> dict[str, Answer]:
        """Return the answers that are there, by request id; the last take of each.

        Raises:
            DamagedError: If an answer does not match its digest.
        """
        found: dict[str, Answer] = {}
        take = "take" if self._version > 1 else "0"
        for begin in range(0, len(request_ids) if self._version else 0, _AT_ONCE):
            some = request_ids[begin : begin + _AT_ONCE]
            with told(self._path):
                rows = self._connection.execute(
                    f"SELECT request_id, {take} AS t, digest, text, finish_reason, prompt_tokens, "
                    "completion_tokens, model FROM answers "
                    f"WHERE request_id IN ({','.join('?' * len(some))}) ORDER BY t",
                    some,
                ).fetchall()
            for request_id, _, digest, *fields in rows:
                answer = stored_answer(request_id, digest, fields)
                if answer is None:
                    raise damaged(self._path, f"the answer to {request_id} was altered")
                found[request_id] = answer
        return found

    def places(self, plan: str, standing: Standing) -> Sequence[Place]:
        """Where a plan has failed, as far as it is published."""
        if self._version < 2:
            return ()
        return published_places(self._connection, self._path, plan, standing)

    def batches(self) -> list[tuple[Entry, int]]:
        """The batches that are not done, oldest first, and how many requests each holds."""
        with told(self._path):
            return open_batches(self._connection)


@contextmanager
def read_ledger(folder: Path) -> Iterator[LedgerReader | None]:
    """Open the ledger of the cache in `folder` to read; None if there is none.

    Raises:
        DamagedError: If the file is not a ledger.
        StorageError: If it cannot be read.
        VersionMismatchError: If a newer version wrote it.
    """
    with open_to_read(folder) as connection:
        if connection is None:
            yield None
            return
        path = folder / FILE_NAME
        with told(path):
            version = version_of(connection, path)
        yield LedgerReader(path, connection, version)


@contextmanager
def open_to_read(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the file of the ledger in `folder` beside any writer; None if there is none."""
    path = folder / FILE_NAME
    if not path.exists():
        yield None
        return
    with told(path):
        connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{_mode(path)}", uri=True)
    try:
        with told(path):
            # One moment for all that is read, whatever is written meanwhile.
            connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


def _mode(path: Path) -> str:
    """Without a -wal file nobody has it open, and a plain reader would leave one behind."""
    with path.open("rb") as file:
        head = file.read(20)
    wal = len(head) == 20 and head[19] == _WAL
    return "immutable=1" if wal and not path.with_name(path.name + "-wal").exists() else "mode=ro"
