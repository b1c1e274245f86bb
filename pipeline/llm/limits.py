"""Requests and tokens a minute, kept below what a provider allows.

A sliding window decides, not a bucket: a bucket that is full lets twice its limit through in the
minute after. Before a request is sent, its largest number of tokens is set aside; when its answer
is there, what it used takes that place. So in no minute is more sent than allowed, whatever the
answers cost. Requests are also spread: at most the share of a second in any second.

Windows are a second longer than they are called, since the way to the server is not always equally
long, and the server counts when a request arrives.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cache_store.errors import ConfigError, UsageError

MINUTE = 60.0  # seconds
MARGIN = 1.0  # seconds by which the ways of two requests to a server may differ
_LONGEST_SLEEP = 0.25  # seconds after which who waits looks whether an answer took less than feared


@dataclass
class Entry:
    """An amount that was sent at a time."""

    at: float
    amount: int


class Window:
    """What was sent in the last `seconds`, and how long to wait before more may be.

    Args:
        seconds: The length of the window.
        limit: What may be sent in any time of that length.
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self.seconds = seconds
        self.limit = limit
        self._entries: deque[Entry] = deque()
        self._total = 0

    def wait(self, now: float, amount: int) -> float:
        """Seconds until `amount` fits, as far as is known now; inf if it never will."""
        self._forget(now)
        if amount > self.limit:
            return math.inf
        excess = self._total + amount - self.limit
        if excess <= 0:
            return 0.0
        for entry in self._entries:
            excess -= entry.amount
            if excess <= 0:
                return max(0.0, entry.at + self.seconds - now)
        return 0.0  # pragma: no cover - amount <= limit, so the entries cover the excess

    def add(self, now: float, amount: int) -> Entry:
        """Count `amount` as sent."""
        entry = Entry(now, amount)
        self._entries.append(entry)
        self._total += amount
        return entry

    def correct(self, entry: Entry, amount: int) -> None:
        """Count what was really sent in place of what was set aside."""
        if self._entries and entry.at >= self._entries[0].at:
            self._total += amount - entry.amount
            entry.amount = amount

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0].at <= now - self.seconds:
            self._total -= self._entries.popleft().amount


class Limiter:
    """Lets requests through, in the order in which they came.

    Args:
        rpm: Requests a minute, None for no limit.
        tpm: Tokens a minute, read and written, None for no limit.
        sleep: Waits; replaced in tests.
        clock: Seconds on any monotonic scale.

    Raises:
        ConfigError: If a limit is below 1.
    """

    def __init__(
        self,
        rpm: int | None = None,
        tpm: int | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        faults = [
            f"{name} must be at least 1, got {value}"
            for name, value in (("--rpm", rpm), ("--tpm", tpm))
            if value is not None and value < 1
        ]
        if faults:
            raise ConfigError(faults)
        self._requests: tuple[Window, ...] = ()
        if rpm is not None:
            spread = Window(1.0, math.ceil(rpm / MINUTE))
            self._requests = (Window(MINUTE + MARGIN, rpm), spread)
        self._tokens = Window(MINUTE + MARGIN, tpm) if tpm is not None else None
        self._sleep = sleep
        self._clock = clock
        self._turn = asyncio.Lock()

    @property
    def limits(self) -> bool:
        """Whether anything is limited."""
        return bool(self._requests) or self._tokens is not None

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are limited."""
        return self._tokens is not None

    async def enter(self, tokens: int) -> Entry:
        """Wait until a request may be sent, and count it.

        Args:
            tokens: The most that it can take, read and written.

        Returns:
            Its place, to give to `settle`.

        Raises:
            UsageError: If one request may take more tokens than a minute has.
        """
        if not self._requests and self._tokens is None:
            return Entry(0.0, 0)
        async with self._turn:
            while (wait := self._wait(self._clock(), tokens)) > 0:
                if wait == math.inf:
                    raise UsageError(
                        "one request may take more tokens than a minute has",
                        expected=f"--tpm of at least {tokens:,}",
                        hint="Or ask for fewer captions a request: --per-request",
                    )
                await self._sleep(min(wait, _LONGEST_SLEEP))
            now = self._clock()
            for window in self._requests:
                window.add(now, 1)
            return self._tokens.add(now, tokens) if self._tokens else Entry(now, 0)

    def settle(self, entry: Entry, tokens: int) -> None:
        """Count what a request used in place of what was set aside for it."""
        if self._tokens is not None:
            self._tokens.correct(entry, tokens)

    def _wait(self, now: float, tokens: int) -> float:
        waits = [window.wait(now, 1) for window in self._requests]
        if self._tokens is not None:
            waits.append(self._tokens.wait(now, tokens))
        return max(waits)
