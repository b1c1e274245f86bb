from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from cache_store.errors import AuthenticationError, RateLimitError, RemoteError
from pipeline.llm.base import Answer, AttemptFailed
from pipeline.llm.limits import Limiter
from pipeline.llm.prices import tokens_at_most
from pipeline.llm.retry import AttemptLog, Retrier, RetryPolicy
from pipeline.llm.scripted import ScriptedBackend
from prompts.request import Request
from tests.pipeline.llm.requests import chat_request


@dataclass
class Clock:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Log(AttemptLog):
    """Remembers the attempts of one request."""

    events: list[str] = field(default_factory=list)

    async def begin(self) -> None:
        self.events.append("begin")

    def fail(self, failure: AttemptFailed) -> None:
        self.events.append(failure.outcome)


class Failing:
    """A backend that fails with these, and then answers."""

    name, model, style, uses_llm, offline = "failing", "m", "chat", False, True

    def __init__(self, *failures: AttemptFailed) -> None:
        self.failures = list(failures)

    async def answer(self, request: Request) -> Answer:
        if self.failures:
            raise self.failures.pop(0)
        return Answer("good", "stop", 0, 0, "m")

    def describe(self) -> dict[str, object]:
        return {}

    async def aclose(self) -> None: ...


def limited(retry_after: float | None = None) -> AttemptFailed:
    return AttemptFailed("rate_limit", RateLimitError("slow down"), retry_after=retry_after)


def retrier(clock: Clock, policy: RetryPolicy | None = None) -> Retrier:
    return Retrier(policy, rng=random.Random(1), sleep=clock.sleep, clock=clock)


def test_every_attempt_is_logged_until_one_succeeds() -> None:
    log = Log()
    answer = asyncio.run(
        retrier(Clock()).answer(Failing(limited(), limited()), chat_request(), log)
    )
    assert answer.text == "good"
    assert log.events == ["begin", "rate_limit", "begin", "rate_limit", "begin"]


def test_waits_grow_and_are_bounded() -> None:
    clock = Clock()
    policy = RetryPolicy(attempts=12, base=1.0, ceiling=8.0)
    asyncio.run(
        retrier(clock, policy).answer(
            Failing(*(limited() for _ in range(11))),
            chat_request(),
            Log(),
        )
    )
    ceilings = [1, 2, 4] + [8] * 8
    assert len(clock.slept) == 11
    assert all(0 <= wait <= top for wait, top in zip(clock.slept, ceilings, strict=True))
    assert len(set(clock.slept)) == 11, "jittered"


def test_the_last_failure_is_what_the_user_hears() -> None:
    log = Log()
    backend = ScriptedBackend(["server_error"])
    with pytest.raises(AttemptFailed, match="the server failed") as caught:
        asyncio.run(retrier(Clock(), RetryPolicy(attempts=3)).answer(backend, chat_request(), log))
    assert isinstance(caught.value.error, RemoteError)
    assert log.events == ["begin", "server_error"] * 3


def test_a_refused_key_is_not_tried_again() -> None:
    log = Log()
    with pytest.raises(AuthenticationError):
        asyncio.run(retrier(Clock()).answer(ScriptedBackend(["unauthorized"]), chat_request(), log))
    assert log.events == ["begin"]


def test_retry_after_holds_every_request_back() -> None:
    clock = Clock()
    one = retrier(clock)

    async def both() -> float:
        await one.answer(Failing(limited(30.0)), chat_request(0), Log())
        before = clock.now
        one._not_before = before + 10.0
        await one.answer(Failing(), chat_request(1), Log())
        return clock.now - before

    assert 10.0 <= asyncio.run(both()) <= 10.0 + RetryPolicy().base, "and then spread over a moment"
    assert clock.now >= 40.0


def test_every_attempt_passes_the_limits() -> None:
    clock = Clock()
    limiter = Limiter(rpm=60, sleep=clock.sleep, clock=clock)
    one = Retrier(
        RetryPolicy(base=0.0), limiter=limiter, rng=random.Random(1), sleep=clock.sleep, clock=clock
    )
    asyncio.run(one.answer(Failing(limited(), limited()), chat_request(), Log()))
    assert clock.now == pytest.approx(2.0), "three attempts, one a second"


def test_what_an_attempt_used_takes_the_place_of_what_was_set_aside() -> None:
    clock, request = Clock(), chat_request()
    most = tokens_at_most(request)
    limiter = Limiter(tpm=most + 20, sleep=clock.sleep, clock=clock)
    one = Retrier(RetryPolicy(base=0.0), limiter=limiter, sleep=clock.sleep, clock=clock)

    async def several() -> None:
        for _ in range(3):
            await one.answer(ScriptedBackend(), request, Log())

    used = asyncio.run(ScriptedBackend().answer(request))
    assert 20 < used.prompt_tokens + used.completion_tokens < most
    asyncio.run(one.answer(Failing(limited()), request, Log()))
    assert clock.now == 0.0, "a refused attempt used nothing"
    asyncio.run(several())
    assert clock.now > 60.0, "two real answers are more than the 20 that are left"


def test_a_server_that_asks_for_too_long_a_wait_ends_it() -> None:
    with pytest.raises(RateLimitError, match="3600 s"):
        asyncio.run(retrier(Clock()).answer(Failing(limited(3600.0)), chat_request(), Log()))
