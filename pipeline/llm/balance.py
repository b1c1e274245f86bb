"""One model on several servers: each request goes where the fewest are in flight.

A server that refuses a connection is set aside, its request goes on to the next, and one request
finds out later whether it is back: after a second, then two, four, up to a minute. `Retry-After`
holds back only the server that said it. Each server has a dialect of its own. What is asked does
not depend on who answers, so request ids and captions are the same for any list of servers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cache_store.errors import UnreachableError
from pipeline.llm.base import Answer, AttemptFailed, PromptStyle
from pipeline.llm.openai_server import OpenAIBackend
from prompts.request import Request

FIRST_PROBE = 1.0  # seconds until a server that was set aside is tried again; doubles
LAST_PROBE = 60.0


@dataclass
class _Server:
    """One server, and what is known of it.

    Attributes:
        backend: Its client.
        in_flight: Requests that it is working on.
        sent: Requests that it ever got.
        held_until: Until when it asked to be left alone.
        refusals: Connections that it refused in a row.
        aside_until: Until when it is not tried again.
    """

    backend: OpenAIBackend
    in_flight: int = 0
    sent: int = 0
    held_until: float = 0.0
    refusals: int = 0
    aside_until: float = 0.0


class BalancedBackend:
    """Several servers as one.

    Args:
        servers: Clients of the same model; one at least.
        sleep: Waits; replaced in tests.
        clock: Seconds on any monotonic scale.
    """

    name = "openai"
    uses_llm = True
    offline = False

    def __init__(
        self,
        servers: Sequence[OpenAIBackend],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = [_Server(backend) for backend in servers]
        self._sleep = sleep
        self._clock = clock
        self._came_back = asyncio.Event()
        self.model = servers[0].model
        self.style: PromptStyle = servers[0].style

    def __repr__(self) -> str:
        addresses = [server.backend.address for server in self._servers]
        return f"BalancedBackend(model={self.model!r}, base_urls={addresses!r})"

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance."""
        told = [server.backend.describe() for server in self._servers]
        return {
            **told[0],
            "base_url": [one["base_url"] for one in told],
            "dialects": {url: kept for one in told for url, kept in one["dialects"].items()},
        }

    def recall(self, dialects: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin with what an earlier run learnt; see `dialect.Learner`."""
        for server in self._servers:
            server.backend.recall(dialects)

    async def answer(self, request: Request) -> Answer:
        """Make one attempt; see `base.Backend`.

        A connection that is refused is none: nothing was sent, so the next server is asked.
        """
        untried = list(self._servers)
        while True:
            server = await self._choose(untried)
            untried.remove(server)
            probe = server.refusals > 0
            server.in_flight += 1
            server.sent += 1
            try:
                answer = await server.backend.answer(request)
            except UnreachableError:
                self._set_aside(server, probe)
                if not untried:
                    raise
            except AttemptFailed as failure:
                if failure.outcome == "no_connection" and not failure.may_cost:
                    self._set_aside(server, probe)
                    if untried:
                        continue
                if failure.retry_after is not None:
                    server.held_until = self._clock() + failure.retry_after
                    failure.retry_after = self._until_one_is_free()
                raise
            else:
                server.refusals, server.aside_until = 0, 0.0
                return answer
            finally:
                server.in_flight -= 1
                self._came_back.set()

    async def aclose(self) -> None:
        """Close all connections."""
        for server in self._servers:
            await server.backend.aclose()

    async def _choose(self, among: Sequence[_Server]) -> _Server:
        """The server with the fewest requests; waits while all ask to be left alone, and while all
        are busy with the request that finds out their dialect."""
        while True:
            now = self._clock()
            free = [server for server in among if server.held_until <= now]
            if not free:
                await self._sleep(min(server.held_until for server in among) - now)
                continue
            there = [server for server in free if server.aside_until <= now]
            if not there:  # all are set aside: who would be tried first is tried now
                there = [min(free, key=lambda server: server.aside_until)]
            ready = [one for one in there if one.backend.dialect.known or not one.in_flight]
            if ready:
                break
            self._came_back.clear()
            await self._came_back.wait()
        chosen = min(ready, key=lambda server: (server.in_flight, server.sent))
        if chosen.refusals:  # one request finds out whether it is back
            chosen.aside_until = now + self._probe_in(chosen)
        return chosen

    def _set_aside(self, server: _Server, probe: bool) -> None:
        """Count a refusal; of those that failed together, only the first."""
        if probe or not server.refusals:
            server.refusals += 1
            server.aside_until = self._clock() + self._probe_in(server)

    @staticmethod
    def _probe_in(server: _Server) -> float:
        # The exponent is bounded, since a server may be away for days.
        return min(FIRST_PROBE * 2.0 ** min(server.refusals - 1, 10), LAST_PROBE)

    def _until_one_is_free(self) -> float | None:
        """Seconds until a server may be asked, None if one may be now."""
        wait = min(server.held_until for server in self._servers) - self._clock()
        return wait if wait > 0 else None
