from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_store.errors import ConfigError, UsageError
from pipeline.llm.limits import Limiter, Window


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def most_in_a_minute(sent: list[tuple[float, int]]) -> int:
    """By brute force: the largest sum over any 60 seconds that begin with a request."""
    return max(
        (sum(n for other, n in sent if at <= other < at + 60.0) for at, _ in sent), default=0
    )


requests = st.lists(
    # reserved, the share of it that is used, seconds until the answer, seconds until the next
    st.tuples(st.integers(1, 50), st.floats(0, 1), st.floats(0, 90), st.floats(0, 10)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(1, 30), st.integers(50, 300))
def test_in_no_minute_is_more_sent_than_allowed(
    asked: list[tuple[int, float, float, float]], rpm: int, tpm: int
) -> None:
    clock, sent = Clock(), []
    limiter = Limiter(rpm, tpm, sleep=clock.sleep, clock=clock)

    async def go() -> None:
        open_: list[tuple[float, object, int]] = []
        for reserved, share, seconds, pause in asked:
            clock.now += pause
            for entry in [entry for entry in open_ if entry[0] <= clock.now]:
                open_.remove(entry)
                limiter.settle(entry[1], entry[2])  # type: ignore[arg-type]
            place = await limiter.enter(reserved)
            used = int(reserved * share)
            sent.append((clock.now, used))
            open_.append((clock.now + seconds, place, used))

    asyncio.run(go())
    assert most_in_a_minute([(at, 1) for at, _ in sent]) <= rpm
    assert most_in_a_minute(sent) <= tpm


def test_requests_are_spread_over_the_minute() -> None:
    clock = Clock()
    limiter = Limiter(rpm=120, sleep=clock.sleep, clock=clock)

    async def go() -> list[float]:
        times = []
        for _ in range(240):
            await limiter.enter(10)
            times.append(clock.now)
        return times

    times = asyncio.run(go())
    assert max(sum(at <= other < at + 1.0 for other in times) for at in times) == 2
    # The limit is used: the minute's last second aside, nothing is given away.
    assert times[-1] < 122.0


def test_tokens_that_were_not_used_are_given_back() -> None:
    clock = Clock()
    limiter = Limiter(tpm=100, sleep=clock.sleep, clock=clock)

    async def go() -> float:
        for _ in range(17):
            limiter.settle(await limiter.enter(20), 5)
        return clock.now

    assert asyncio.run(go()) == 0.0, "16 times 5 and once 20 fit in a minute; 17 times 20 do not"


def test_an_answer_that_comes_meanwhile_lets_the_next_request_in() -> None:
    async def go() -> float:
        loop = asyncio.get_running_loop()
        limiter = Limiter(tpm=100)
        first = await limiter.enter(100)
        loop.call_later(0.05, limiter.settle, first, 10)
        began = loop.time()
        await limiter.enter(90)
        return loop.time() - began

    assert asyncio.run(go()) < 30.0, "and not after the minute"


def test_who_came_first_goes_first() -> None:
    clock = Clock()
    limiter = Limiter(rpm=60, sleep=clock.sleep, clock=clock)
    order: list[int] = []

    async def one(number: int) -> None:
        await limiter.enter(1)
        order.append(number)

    async def go() -> None:
        await asyncio.gather(*(one(number) for number in range(10)))

    asyncio.run(go())
    assert order == list(range(10))


def test_a_request_that_never_fits_is_told_at_once() -> None:
    with pytest.raises(UsageError, match="--tpm of at least 1,500"):
        asyncio.run(Limiter(tpm=1000).enter(1500))


def test_limits_below_one_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        Limiter(rpm=0, tpm=-1)
    assert len(caught.value.faults) == 2


@given(st.integers(1, 10**6), st.integers(0, 2**32))
def test_a_window_says_exactly_how_long_to_wait(limit: int, seed: int) -> None:
    rng, window, now = random.Random(seed), Window(60.0, limit), 0.0
    for _ in range(30):
        amount = rng.randint(1, limit)
        wait = window.wait(now, amount)
        assert wait == 0 or window.wait(now + wait * 0.999, amount) > 0, "not sooner"
        now += wait + rng.choice([0.0, rng.uniform(0, 20)])
        # A rounding error in the sum of times is all that may be missing.
        assert window.wait(now, amount) <= 1e-9
        window.add(now + 1e-9, amount)
    assert window.wait(now, limit + 1) == math.inf
