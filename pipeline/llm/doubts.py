"""Failures that are not believed yet: a request's own, or a server's that died.

A failure is believed only when another request was answered after it. A streak of failures with no
answer in between is the server's: none of them is recorded, and the next run asks them again.
"""

from __future__ import annotations

from collections.abc import Iterator

from cache_store.errors import RemoteError
from pipeline.llm.base import AttemptFailed
from prompts.request import Request

STREAK_FACTOR, SHORTEST_STREAK = 2, 10  # failures in a row, as a multiple of the concurrency

Doubt = tuple[int, Request, AttemptFailed]  # the place in the plan, who failed, and how


class Doubts:
    """The failures since the last answer, in the order in which they came.

    Args:
        concurrency: Requests in flight at most. The streak is twice as long, so that one moment in
            which all of them fail is none.
    """

    def __init__(self, concurrency: int) -> None:
        self._longest = max(SHORTEST_STREAK, STREAK_FACTOR * concurrency)
        self._failures: list[Doubt] = []

    def __len__(self) -> int:
        return len(self._failures)

    def __iter__(self) -> Iterator[Doubt]:
        return iter(self._failures)

    def add(self, place: int, request: Request, failure: AttemptFailed) -> None:
        """Another one."""
        self._failures.append((place, request, failure))

    def clear(self) -> None:
        """They are believed."""
        self._failures.clear()

    @property
    def hopeless(self) -> bool:
        """Whether there are so many that the server is gone."""
        return len(self._failures) >= self._longest

    def error(self) -> RemoteError:
        """What to tell of them: how the last one failed, and how many there are."""
        error, count = self._failures[-1][2].error, len(self._failures)
        many = f"{count} requests in a row got no answer: " if count > 1 else ""
        return type(error)(
            many + error.what,
            where=error.where,
            expected=error.expected,
            found=error.found,
            hint=error.hint or "Run the same command later: what was answered is kept",
        )
