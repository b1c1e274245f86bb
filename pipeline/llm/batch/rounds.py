"""A round: the requests of one batch, and the names by which it is found again. Pure.

A round is named by the hash of its requests' ids. The name travels with the batch (metadata) and
its file, so a process that died between two steps leaves nothing at the server that its successor
cannot recognise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

FORMAT: Final = "1"  # of the metadata
MOST_REQUESTS: Final = 50_000  # the server's limits for one batch
MOST_BYTES: Final = 200 * 10**6

_HEX = 32  # 128 bits, as in request ids


@dataclass(frozen=True)
class Member:
    """A request in a round.

    Attributes:
        request_id: Its id.
        position: Its place in the plan.
        attempt: Which attempt at it this is, from 1.
    """

    request_id: str
    position: int
    attempt: int = 1


def round_name(request_ids: Iterable[str]) -> str:
    """The name (32 hex) of the round of these requests, whatever their order."""
    spelled = "\n".join(sorted(request_ids))
    return hashlib.sha256(spelled.encode()).hexdigest()[:_HEX]


def file_name(name: str) -> str:
    """What the input file of a round is called at the server."""
    return f"lqtse-{name}.jsonl"


def metadata(plan: str, name: str, members: Iterable[Member]) -> dict[str, str]:
    """What a batch carries, so that it is found again.

    Args:
        plan: The plan's key.
        name: The round's name.
        members: Its requests, at least one.
    """
    positions = [member.position for member in members]
    return {
        "lqtse": FORMAT,
        "plan": plan,
        "round": name,
        "first": str(min(positions)),
        "last": str(max(positions)),
    }


def is_of_plan(carried: Mapping[str, str] | None, plan: str) -> bool:
    """Whether a batch that carries this holds requests of the plan."""
    return carried is not None and (carried.get("lqtse"), carried.get("plan")) == (FORMAT, plan)


def span(carried: Mapping[str, str]) -> range:
    """The positions among which a batch's requests are; empty if it does not say, or too wide."""
    try:
        positions = range(int(carried["first"]), int(carried["last"]) + 1)
    except (KeyError, ValueError):
        return range(0)
    wide = len(positions) > 20 * MOST_REQUESTS or positions.start < 0
    return range(0) if wide else positions
