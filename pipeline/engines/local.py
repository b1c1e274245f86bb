"""Run a stage over shards in worker processes of this machine.

Each worker prepares the stage once (loads its model) and then takes a shard whenever it is free, so
one shard a worker is under way and memory does not grow with their number. A fault in a worker, or
a worker that dies, stops the run; what the caller committed before stays. Workers end with their
parent, even when it is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any

from cache_store.errors import LqtseError, UsageError
from pipeline.engines.base import Result, Shard, Stage, died, unexpected
from pipeline.progress import Tick


class LocalEngine:
    """This machine; see `pipeline.engines.base.Engine`."""

    name = "local"

    def device(self, wanted: str) -> str:
        """The device of this machine."""
        from cache_store.spaces import pick_device

        return pick_device(wanted)

    def home(self, device: str) -> str:
        """The same: a single worker is this process."""
        return device

    def room(self, device: str, threads: int) -> int | None:
        """None: whether starting processes pays depends on the work."""
        return None

    def map_shards(
        self,
        stage: Stage[Shard, Result],
        shards: Sequence[Shard],
        *,
        workers: int,
        tick: Tick,
        prepared: Callable[[Shard, Tick], Result] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Run a stage over shards, as `map_shards` of this module."""
        return map_shards(stage, shards, workers=workers, tick=tick, prepared=prepared)


def map_shards(
    stage: Stage[Shard, Result],
    shards: Sequence[Shard],
    *,
    workers: int,
    tick: Tick,
    prepared: Callable[[Shard, Tick], Result] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Run a stage over shards; yields each shard's number and result, in the order they finish.

    Args:
        stage: What to do.
        shards: What to do it to.
        workers: Processes; 1 works in this one.
        tick: Told of the rows as they are finished.
        prepared: The stage's work where this process has it already, so that a single worker
            loads nothing twice.

    Raises:
        UsageError: A worker process died, most often for lack of memory.
        LqtseError: Whatever the stage raised.
    """
    if min(workers, len(shards)) > 1:
        yield from _in_processes(stage, shards, min(workers, len(shards)), tick)
    elif shards:
        work = prepared or stage.prepare()
        for number, shard in enumerate(shards):
            yield number, work(shard, tick)


def available_cores() -> int:
    """CPU cores that this process may use, which a container or `taskset` can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    shard: int = -1  # the number of the one it works on, once it has one


def _in_processes(
    stage: Stage[Shard, Result], shards: Sequence[Shard], workers: int, tick: Tick
) -> Iterator[tuple[int, Result]]:
    waiting = iter(range(len(shards)))
    staff: list[_Worker] = []
    try:
        for _ in range(workers):
            staff.append(_hire(stage))
            _assign(staff[-1], next(waiting), shards)
        busy = {worker.connection: worker for worker in staff}
        while busy:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                kind, value = _receive(worker)
                if kind == "rows":
                    tick(value)
                    continue
                if kind == "fault":
                    raise value
                done = worker.shard
                following = next(waiting, None)
                if following is None:
                    del busy[worker.connection]
                else:
                    _assign(worker, following, shards)
                yield done, value
    finally:
        for worker in staff:
            worker.process.terminate()
            worker.process.join()
            worker.connection.close()


def _hire(stage: Stage[Any, Any]) -> _Worker:
    # Not fork: a forked copy of torch's or CUDA's threads hangs.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, stage), daemon=True)
    # Ctrl-C reaches the whole process group, but the parent alone decides what it means: a child
    # inherits the mask, and so is deaf to it from its first instruction on.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()  # so that a dead worker reads as the end of the pipe
    return _Worker(process, ours)


def _assign(worker: _Worker, number: int, shards: Sequence[Any]) -> None:
    worker.shard = number
    # A worker that is dead already is told of when it is read from.
    with suppress(ConnectionError):
        worker.connection.send(shards[number])


def _receive(worker: _Worker) -> tuple[str, Any]:
    try:
        kind, value = worker.connection.recv()
    except (EOFError, ConnectionError) as error:
        worker.process.join()
        raise UsageError(**died(f"exit code {worker.process.exitcode}")) from error
    return kind, value


def _work(connection: Connection, stage: Stage[Any, Any]) -> None:
    """The worker: prepare once, then a shard in, a result out, until the parent is gone."""
    Thread(target=_end_with_parent, daemon=True).start()
    # The end of the pipe is the end of the parent.
    with suppress(EOFError, ConnectionError):
        try:
            work = stage.prepare()
            while True:
                shard = connection.recv()
                result = work(shard, lambda rows: connection.send(("rows", rows)))
                connection.send(("done", result))
        except LqtseError as error:
            connection.send(("fault", error))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - told to the parent, which ends the run
            connection.send(("fault", unexpected(error)))


def _end_with_parent() -> None:
    # Without this, the worker of a killed parent would go on to the end of its shard.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
