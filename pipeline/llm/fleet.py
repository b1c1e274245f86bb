"""Several processes that send, for fleets of servers that one Python process cannot feed.

This process plans, keeps the ledger, the limits, the retries and the order; the workers
(`fleet_worker`) get requests and give back answers or failures over pipes. So it is a backend like
any other, and the same captions come out for any number of workers.

A worker that dies takes its requests with it: each is a failed attempt that may have cost, to be
asked again like any other, and a new worker takes its place.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cache_store.errors import RemoteError
from pipeline.llm.base import Answer, AttemptFailed, PromptStyle
from pipeline.llm.frames import LONGEST_LINE, dump, pack_request, unpack_outcome
from pipeline.llm.servers import Settings, open_servers
from prompts.request import Request

_DEATHS = 3  # workers in a row that died without an answer: they will not get better
_GRACE = 5.0  # seconds that a worker gets to end


@dataclass
class _Worker:
    """One process and the requests that it has, by number."""

    process: asyncio.subprocess.Process
    input: asyncio.StreamWriter
    waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)


class FleetBackend:
    """Worker processes as one backend.

    Args:
        settings: What each worker's client needs.
        workers: How many processes.
        command: What starts a worker.

    Raises:
        AuthenticationError: If a server needs a key and there is none.
        UsageError: If an address is not one.
    """

    name = "openai"
    uses_llm = True
    offline = False

    def __init__(
        self,
        settings: Settings,
        workers: int,
        *,
        command: Sequence[str] = (sys.executable, "-m", "pipeline.llm.fleet_worker"),
    ) -> None:
        # Opens nothing, but finds what is wrong with the settings, and says what they are.
        self._told = open_servers(settings).describe()
        self.model = settings.model
        self.style: PromptStyle = settings.style
        self._settings = settings
        self._wanted = workers
        self._command = tuple(command)
        self._workers: list[_Worker] = []
        self._readers: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
        self._first = asyncio.Lock()
        self._known = False
        self._number = 0
        self._deaths = 0

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance; the number of workers shapes nothing, and is not in it."""
        return {**self._told, "dialects": dict(self._settings.dialects) or self._told["dialects"]}

    def recall(self, dialects: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin with what an earlier run learnt; see `dialect.Learner`."""
        self._settings = replace(self._settings, dialects=dialects)

    async def answer(self, request: Request) -> Answer:
        """Make one attempt; see `base.Backend`."""
        # One worker finds out the server's dialect, and the others are told.
        if not self._known:
            async with self._first:
                if not self._known:
                    answer = await self._ask(request)
                    self._known = True
                    return answer
        return await self._ask(request)

    async def aclose(self) -> None:
        """End the workers."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.input.close()  # a worker ends with its input, and its output with it
        if self._readers:
            await asyncio.wait(self._readers, timeout=_GRACE)
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.process.kill()
        if self._readers:
            await asyncio.wait(self._readers)

    async def _ask(self, request: Request) -> Answer:
        await self._start()
        worker = min(self._workers, key=lambda one: len(one.waiting))
        self._number += 1
        number = self._number
        coming: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        worker.waiting[number] = coming
        try:
            worker.input.write(dump([number, pack_request(request)]))
            return unpack_outcome(await coming)
        finally:
            worker.waiting.pop(number, None)

    async def _start(self) -> None:
        """Have as many workers as wanted; before the dialect is known, one."""
        wanted = self._wanted if self._known else 1
        if len(self._workers) >= wanted:
            return
        async with self._starting:
            while len(self._workers) < wanted:
                if self._deaths >= _DEATHS:
                    raise RemoteError(
                        "the worker processes end at once",
                        hint="What they said is above; try without --workers",
                    )
                self._workers.append(await self._new_worker())

    async def _new_worker(self) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
        assert process.stdin is not None
        worker = _Worker(process, process.stdin)
        worker.input.write(dump(asdict(self._settings)))
        reader = asyncio.create_task(self._read(worker))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        return worker

    async def _read(self, worker: _Worker) -> None:
        """Hand on what a worker says; when it says no more, its requests are lost."""
        assert worker.process.stdout is not None
        with suppress(ConnectionError, ValueError):  # a pipe that broke, a line that was cut
            while line := await worker.process.stdout.readline():
                number, packed, note = json.loads(line)
                self._deaths = 0
                if "dialects" in note:
                    self._settings = replace(self._settings, dialects=note["dialects"])
                coming = worker.waiting.get(number)
                if coming is not None and not coming.done():
                    coming.set_result(packed)
        if worker in self._workers:
            self._workers.remove(worker)
            self._deaths += 1
            with suppress(ProcessLookupError):
                worker.process.kill()
        for coming in worker.waiting.values():
            if not coming.done():
                coming.set_exception(_lost())
        worker.input.close()
        await worker.process.wait()


def _lost() -> AttemptFailed:
    error = RemoteError(
        "a worker process ended", hint="Run the same command again: what was answered is kept"
    )
    return AttemptFailed("lost", error, may_cost=True)
