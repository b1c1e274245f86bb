from __future__ import annotations

import asyncio

import pytest

from cache_store.errors import AuthenticationError, UnreachableError
from pipeline.llm.batch import patience
from pipeline.llm.batch.patience import Patience


def waits(one: Patience, times: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would wait, without waiting."""
    found: list[float] = []

    async def wait_for(waiting: object, seconds: float) -> None:
        waiting.close()  # type: ignore[attr-defined]
        found.append(seconds)

    async def pause() -> None:
        for _ in range(times):
            await one.pause()

    monkeypatch.setattr(patience.asyncio, "wait_for", wait_for)
    asyncio.run(pause())
    return found


def test_it_waits_longer_each_time_and_looks_soon_after_a_new_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = Patience(12.0, asyncio.Event(), lambda _: None)
    assert waits(one, 4, monkeypatch) == [5.0, 7.5, 11.25, 12.0]
    one.begin_anew()
    assert waits(one, 1, monkeypatch) == [5.0]


def test_a_stop_ends_the_wait() -> None:
    async def stopped() -> None:
        stop = asyncio.Event()
        stop.set()
        await asyncio.wait_for(Patience(3600.0, stop, lambda _: None).pause(), 5)

    asyncio.run(stopped())


def test_a_silent_server_is_waited_for_an_hour_and_told_of_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, said = 0.0, []
    monkeypatch.setattr(patience.time, "monotonic", lambda: now)
    one = Patience(1.0, asyncio.Event(), said.append)
    silent = UnreachableError("no connection to the server")
    assert one.may_pass(silent)
    now = patience.SILENCE - 1
    assert one.may_pass(silent)
    assert len(said) == 1 and "waiting for it to come back" in said[0]
    one.heard()
    assert one.may_pass(silent) and len(said) == 2, "the hour begins anew"
    now = 2 * patience.SILENCE
    assert not one.may_pass(silent)


def test_a_refused_key_does_not_pass() -> None:
    one = Patience(1.0, asyncio.Event(), lambda _: None)
    assert not one.may_pass(AuthenticationError("the key was refused"))
