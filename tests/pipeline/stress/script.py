"""How the server of the ordeal behaves: a function of a request's id and of its calls so far.

What a request gets in the end (an answer of a kind, or none) follows from its id alone, so that
runs that were killed at different moments can be compared. Troubles that pass come before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.llm.scripted import Call

# Calls that bring no answer; a client may, or may not, hear of them.
FAILING = ("rate_limit", "server_error", "hang", "drop", "not_an_api")


@dataclass(frozen=True)
class Misery:
    """Shares of requests, each in [0, 1].

    Attributes:
        hang_for_good: Never answered.
        fail_for_good: Every call fails: 429, 500, a cut connection, a web page.
        hang_once: The first call is not answered.
        fail_once: The first call, and the second of half of them, fails.
        bad: The answer is a refusal, filtered, garbage, cut, or says one thing five times.
        storm_every: A storm of 429 after so many requests ...
        storm: ... meets so many of them, twice each.
    """

    hang_for_good: float = 0.001
    fail_for_good: float = 0.015
    hang_once: float = 0.002
    fail_once: float = 0.12
    bad: float = 0.15
    storm_every: int = 500
    storm: int = 100


class Script:
    """The behaviour of each call.

    Args:
        misery: How bad it is.
        well: Whether the server has recovered: then nothing fails any more.
        heard: Told the id and the behaviour of every call.
    """

    def __init__(
        self,
        misery: Misery,
        well: Callable[[], bool] = lambda: False,
        heard: Callable[[str, str], None] = lambda request_id, behaviour: None,
    ) -> None:
        self._misery = misery
        self._well = well
        self._heard = heard
        self._storms: dict[str, bool] = {}

    def __call__(self, call: Call) -> str:
        behaviour = self._choose(call.request.id, call.attempt)
        self._heard(call.request.id, behaviour)
        return behaviour

    def _choose(self, request_id: str, attempt: int) -> str:
        if request_id not in self._storms:
            place = len(self._storms) % self._misery.storm_every
            self._storms[request_id] = place >= self._misery.storm_every - self._misery.storm
        if self._well():
            return answer_of(request_id, self._misery)
        return (
            failure_of(request_id, self._misery)
            or self._passing(request_id, attempt)
            or answer_of(request_id, self._misery)
        )

    def _passing(self, request_id: str, attempt: int) -> str:
        luck, which = _draw(request_id, "passing"), _draw(request_id, "which")
        if luck < self._misery.hang_once:
            return "hang" if attempt == 0 else ""
        if self._storms[request_id] and attempt < 2:
            return "rate_limit"
        if luck < self._misery.hang_once + self._misery.fail_once:
            times = 1 if which < 0.5 else 2
            kinds = ("rate_limit", "server_error", "drop", "not_an_api")
            return kinds[int(which * 8) % 4] if attempt < times else ""
        return ""


def failure_of(request_id: str, misery: Misery) -> str:
    """How every call of a request fails, "" if it is answered in the end."""
    luck = _draw(request_id, "for good")
    if luck < misery.hang_for_good:
        return "hang"
    if luck < misery.hang_for_good + misery.fail_for_good:
        kinds = ("rate_limit", "server_error", "drop", "not_an_api")
        return kinds[int(_draw(request_id, "kind") * 4)]
    return ""


def answer_of(request_id: str, misery: Misery) -> str:
    """The kind of answer that a request gets."""
    if _draw(request_id, "answer") >= misery.bad:
        return "good"
    kinds = ("refusal", "filtered", "garbage", "cut", "duplicates")
    return kinds[int(_draw(request_id, "bad") * 5)]


def _draw(request_id: str, purpose: str) -> float:
    """In [0, 1), from the id."""
    digest = hashlib.sha256(f"{purpose} {request_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
