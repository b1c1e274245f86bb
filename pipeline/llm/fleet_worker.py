"""A worker process of `fleet`: reads requests, sends them to the servers, writes what came back.

    python -m pipeline.llm.fleet_worker     (started by fleet, with pipes in and out)

It ends when its input does, so none outlives the process that started it, however that one ends.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from cache_store.errors import LqtseError
from pipeline.llm.base import Answer, AttemptFailed
from pipeline.llm.frames import LONGEST_LINE, dump, pack_outcome, unpack_request
from pipeline.llm.servers import Settings, open_servers


async def serve() -> None:
    """Work until the input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
    settings: dict[str, Any] = json.loads(await reader.readline())
    backend = open_servers(Settings(**settings))
    told = backend.describe()["dialects"]
    running: set[asyncio.Task[None]] = set()

    async def work(number: int, packed: dict[str, Any]) -> None:
        nonlocal told
        outcome: Answer | Exception
        try:
            outcome = await backend.answer(unpack_request(packed))
        except (AttemptFailed, LqtseError) as error:
            outcome = error
        learnt = backend.describe()["dialects"]
        note = {} if learnt == told else {"dialects": learnt}
        told = learnt
        transport.write(dump([number, pack_outcome(outcome), note]))

    while line := await reader.readline():
        number, packed = json.loads(line)
        task = asyncio.create_task(work(number, packed))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
    await backend.aclose()


def main() -> None:
    """Run one worker."""
    # Ctrl-C reaches every process of a terminal; who started this one decides when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve())


if __name__ == "__main__":
    main()
