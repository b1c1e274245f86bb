"""What the ledger knows of the places of a plan, several of them a query."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.ledger import Ledger
from pipeline.llm.base import Answer
from prompts.request import Request

Known = tuple[Request, Answer | None, str | None]  # its answer, or why it got none


class Lookup:
    """Looks places up, one after the other.

    Args:
        request: The request at a position of the plan.
        ledger: Where answers are kept.
        together: Places a query.
        length: Positions that the plan has, None for no end.
    """

    def __init__(
        self,
        request: Callable[[int], Request],
        ledger: Ledger,
        together: int,
        length: int | None,
    ) -> None:
        self._request = request
        self._ledger = ledger
        self._together = together
        self._length = length
        self._known: dict[int, Known] = {}

    def at(self, place: int) -> Known:
        """What is known of a place; the places after it are looked up with it."""
        if place not in self._known:
            places = range(place, place + self._together)
            if self._length is not None:
                places = range(place, min(places.stop, self._length))
            requests = [self._request(one) for one in places]
            ids = [request.id for request in requests]
            answers, given_up = self._ledger.get(ids), self._ledger.given_up(ids)
            for one, request in zip(places, requests, strict=True):
                self._known[one] = (request, answers.get(request.id), given_up.get(request.id))
        return self._known[place]

    def forget(self, place: int) -> None:
        """It was dealt with."""
        del self._known[place]
