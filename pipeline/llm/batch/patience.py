"""How long a run waits: between two looks at its batches, and for a server that is silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from cache_store.errors import RemoteError, UnreachableError

FIRST_POLL = 5.0  # seconds
_GROWTH = 1.5
SILENCE = 3600.0  # seconds for which a server that cannot be reached is waited for


class Patience:
    """Waits longer each time, and is told when something happened.

    Args:
        longest: Longest time between two looks, in seconds.
        stop: Set when the run shall wait no more.
        note: Told once, when a server falls silent.
    """

    def __init__(self, longest: float, stop: asyncio.Event, note: Callable[[str], None]) -> None:
        self._longest = longest
        self._stop = stop
        self._note = note
        self._interval = 0.0
        self._silent_since: float | None = None

    async def pause(self) -> None:
        """Wait for the next look, longer each time; a stop ends it."""
        self._interval = min(self._interval * _GROWTH or FIRST_POLL, self._longest)
        with suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self._interval)

    def begin_anew(self) -> None:
        """A batch was submitted: look soon."""
        self._interval = 0.0

    def heard(self) -> None:
        """The server answered."""
        self._silent_since = None

    def may_pass(self, error: RemoteError) -> bool:
        """Whether to go on waiting for a server that cannot be asked: batches take hours."""
        if type(error) not in (RemoteError, UnreachableError):
            return False
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
            self._note(f"{error.message} (waiting for it to come back)")
        return now - self._silent_since < SILENCE
