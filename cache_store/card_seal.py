"""A hash at the end of the dataset card, so that `verify` finds a flipped bit there too.

The card is not among the hashed files, since it is written in place; but `datasets` reads the list
of files in it, so a bit of it that flips can hide rows.
"""

from __future__ import annotations

import hashlib
import re

_SEAL = re.compile(rb"\n<!-- sha256 of all above: ([0-9a-f]{64}) -->\n\Z")


def seal(text: str) -> str:
    """Return a card with its hash at the end, in a comment that no page shows."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text}\n<!-- sha256 of all above: {digest} -->\n"


def is_whole(card: bytes) -> bool | None:
    """Whether a card's bytes are what its hash says; None where it has none."""
    found = _SEAL.search(card)
    if found is None:
        return None
    return hashlib.sha256(card[: found.start()]).hexdigest().encode() == found[1]
