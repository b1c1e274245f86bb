"""What requests take: money and tokens in one value, since a cache may limit both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Amount:
    """What an attempt, a batch or a run takes.

    Attributes:
        usd: Its cost, 0 where the price is not known.
        tokens: Tokens, read and written together.
    """

    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.tokens + other.tokens)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.usd - other.usd, self.tokens - other.tokens)

    def share(self, parts: int) -> Amount:
        """One of so many equal parts; tokens are rounded up."""
        return Amount(self.usd / parts, -(-self.tokens // parts))


NOTHING: Final = Amount()
