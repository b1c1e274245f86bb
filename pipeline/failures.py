"""What counts as a failure: a request without an answer, or with one that is not what was asked.

    no_answer: WHY   every attempt failed; WHY is the outcome of the last ("timeout")
    content_filter   the provider's filter refused, or cut the answer
    cut              it ran into its token limit before all that was asked for was there
    refusal          the model declines
    garbage          no caption can be read in it: nothing, markup, or a text without an end

An answer whose captions are refused one by one (duplicates, say) is none. Where a plan failed is
remembered in the ledger's table `failed`, for `status` and `retry`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pipeline.ledger_format import told
from pipeline.llm.base import Answer
from pipeline.standing import Standing
from prompts.request import Request
from prompts.schema import CUT_REASONS, Accepted, Rejected

NO_ANSWER = "no_answer"
NO_TAKE = -1  # the take of a request without an answer
_UNREADABLE = frozenset({"empty", "markup", "too_long"})


def fault_of(answer: Answer, request: Request, pieces: Sequence[Accepted | Rejected]) -> str:
    """What is wrong with an answer as a whole, "" if nothing.

    Args:
        answer: The answer.
        request: What it answers.
        pieces: What `prompts.schema.parse` made of it.
    """
    if answer.finish_reason == "content_filter":
        return "content_filter"
    reasons = {piece.reason for piece in pieces if isinstance(piece, Rejected)}
    nothing = all(isinstance(piece, Rejected) for piece in pieces)
    if answer.finish_reason in CUT_REASONS:
        whole = len(pieces) - ("truncated" in reasons)
        if whole < request.count or nothing:
            return "cut"
    if nothing and "refusal" in reasons:
        return "refusal"
    return "garbage" if nothing and reasons <= _UNREADABLE else ""


def is_unanswered(reason: str) -> bool:
    """Whether a failure's reason says that there was no answer at all."""
    return reason.startswith(NO_ANSWER)


@dataclass(frozen=True)
class Place:
    """Where a plan failed, or was asked again.

    Attributes:
        position: Of the request, in the plan.
        request_id: Its id.
        reason: Why; "" once it was asked again with success.
        take: The answer that was judged, `NO_TAKE` if there was none.
    """

    position: int
    request_id: str
    reason: str
    take: int


class FailedPlaces:
    """The ledger's memory of where one plan failed.

    Args:
        path: The ledger.
        connection: To it.
        plan: The plan's key.
        transaction: Opens a transaction.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        plan: str,
        transaction: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._path = path
        self._connection = connection
        self._plan = plan
        self._transaction = transaction

    def note(self, number: int, places: Iterable[tuple[int, str, str]]) -> None:
        """Remember places, in one transaction, before they are published.

        Args:
            number: 0 for the plan itself, from 1 for the rounds of `retry`.
            places: Position, request id, reason.
        """
        with self._transaction():
            for position, request_id, reason in places:
                self._connection.execute(
                    "INSERT OR REPLACE INTO failed SELECT ?1, ?2, ?3, ?4, "
                    "CASE WHEN ?6 THEN -1 ELSE (SELECT coalesce(max(take), -1) FROM answers "
                    "WHERE request_id = ?4) END, ?5",
                    (self._plan, number, position, request_id, reason, is_unanswered(reason)),
                )

    def published(self, standing: Standing) -> list[Place]:
        """Where the plan failed and was not asked again with success, in plan order."""
        return published_places(self._connection, self._path, self._plan, standing)

    def drop_void(self, standing: Standing) -> None:
        """Forget what was noted by a run that died before it published."""
        with self._transaction():
            self._connection.execute(
                "DELETE FROM failed WHERE plan = ?1 AND (round > ?3 OR (round = 0 AND "
                "position >= ?2) OR (round > 0 AND round = ?3 AND position >= ?4))",
                (self._plan, standing.request, standing.round, standing.retried),
            )


def published_places(
    connection: sqlite3.Connection, path: Path, plan: str, standing: Standing
) -> list[Place]:
    """Where `plan` failed as far as the manifest has come: the last word on each position."""
    last: dict[int, Place] = {}
    with told(path):
        rows = connection.execute(
            "SELECT position, request_id, reason, take FROM failed WHERE plan = ?1 AND "
            "((round = 0 AND position < ?2) OR (round > 0 AND round < ?3) OR "
            "(round > 0 AND round = ?3 AND position < ?4)) ORDER BY position, round",
            (plan, standing.request, standing.round, standing.retried),
        )
        for row in rows:
            last[row[0]] = Place(*row)
    return [place for place in last.values() if place.reason]
