"""Retries of our own: counted, jittered, and shared by all requests in flight.

A failed attempt waits a random time below a ceiling that doubles (full jitter: requests that
failed together do not come back together). When a server says `Retry-After`, every request waits,
not only the one that was told, and they come back spread over a moment. Every attempt passes the
limits a minute.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cache_store.errors import RateLimitError
from pipeline.llm.base import Answer, AttemptFailed, Backend
from pipeline.llm.limits import Entry, Limiter
from pipeline.llm.prices import tokens_at_most
from prompts.request import Request


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long.

    Attributes:
        attempts: Attempts a request at most, the first included.
        base: Ceiling of the first wait, in seconds; it doubles with every attempt.
        ceiling: Largest ceiling, in seconds.
        longest_wait: A `Retry-After` above this many seconds ends the run.
    """

    attempts: int = 6
    base: float = 0.5
    ceiling: float = 30.0
    longest_wait: float = 120.0


class AttemptLog:
    """What happens to the attempts of one request; the ledger's side of a retry.

    The base class keeps nothing.
    """

    async def begin(self) -> None:
        """A further attempt is about to be sent."""

    def take_back(self) -> None:
        """The current attempt is not sent after all."""

    def fail(self, failure: AttemptFailed) -> None:
        """The current attempt failed."""


class Retrier:
    """Asks until an answer comes or the policy gives up.

    Args:
        policy: How often and how long.
        limiter: What may be sent in a minute; no limit by default.
        rng: Source of the jitter; it never shapes a result.
        sleep: Waits; replaced in tests.
        clock: Seconds on any monotonic scale.
        held: Told when a server asked to wait, and how long.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        limiter: Limiter | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        held: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.policy = policy or RetryPolicy()
        self._limiter = limiter or Limiter()
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._clock = clock
        self._held = held
        self._not_before = 0.0

    @property
    def limited(self) -> bool:
        """Whether requests or tokens a minute are limited."""
        return self._limiter.limits

    def hold(self, seconds: float) -> None:
        """Begin no attempt for a while: a server asked to wait."""
        self._not_before = max(self._not_before, self._clock() + seconds)

    async def answer(self, backend: Backend, request: Request, log: AttemptLog) -> Answer:
        """Ask `backend`, again if need be.

        Raises:
            AttemptFailed: The last failure, when no attempt succeeded.
            RemoteError: What will meet every request.
        """
        for number in range(1, self.policy.attempts + 1):
            place = await self._begin(request, log)
            try:
                answer = await backend.answer(request)
                used = answer.prompt_tokens + answer.completion_tokens
                if used:  # else the server does not count, and what was set aside stands
                    self._limiter.settle(place, used)
                return answer
            except AttemptFailed as failure:
                if not failure.may_cost:
                    self._limiter.settle(place, 0)
                log.fail(failure)
                if number == self.policy.attempts:
                    raise
                await self._back_off(failure, number)
        raise AssertionError("a policy of no attempts")  # pragma: no cover

    async def _begin(self, request: Request, log: AttemptLog) -> Entry:
        """Begin an attempt; one that had to wait for room may have to wait for the server then."""
        while True:
            place = await self._turn(request)
            await log.begin()
            if self._not_before <= self._clock():
                return place
            log.take_back()
            self._limiter.settle(place, 0)

    async def _turn(self, request: Request) -> Entry:
        """Wait until a request may be sent."""
        tokens = tokens_at_most(request) if self._limiter.counts_tokens else 0
        while True:
            while (wait := self._not_before - self._clock()) > 0:
                await self._sleep(wait + self._rng.uniform(0.0, self.policy.base))
            place = await self._limiter.enter(tokens)
            if self._not_before <= self._clock():
                return place
            self._limiter.settle(place, 0)  # a server asked to wait meanwhile

    async def _back_off(self, failure: AttemptFailed, number: int) -> None:
        asked = failure.retry_after
        if asked is not None and asked > self.policy.longest_wait:
            raise RateLimitError(
                "the server asks to wait longer than we do",
                expected=f"at most {self.policy.longest_wait:.0f} s",
                found=f"{asked:.0f} s",
                hint="Run the same command later: what was answered is kept",
            ) from None
        if asked is not None:
            self.hold(asked)
            self._held(asked)
        ceiling = min(self.policy.base * 2 ** (number - 1), self.policy.ceiling)
        await self._sleep(self._rng.uniform(0.0, ceiling))
