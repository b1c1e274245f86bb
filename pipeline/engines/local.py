"""Run a stage over shards in worker processes of this machine.

Each worker prepares the stage once (loads its model) and then takes a shard whenever it is free, so
one shard a worker is under way and memory does not grow with their number. A fault in a worker, or
a worker that dies, stops the run; what the caller committed before stays. Workers end with their
parent, even when it is killed: the next row that they report finds nobody listening.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from cache_store.errors import LqtseError, UsageError
from pipeline.progress import Tick

Shard = TypeVar("Shard")
Result = TypeVar("Result")
Shard_contra = TypeVar("Shard_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Stage(Protocol[Shard_contra, Result_co]):
    """What is done to a shard; it is sent to the workers, so it holds settings and no models."""

    def prepare(self) -> Callable[[Shard_contra, Tick], Result_co]:
        """Load what the work needs, once a process, and return the work itself."""
        ...


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


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    shard: int = -1  # the number of the one it works on


def _in_processes(
    stage: Stage[Shard, Result], shards: Sequence[Shard], workers: int, tick: Tick
) -> Iterator[tuple[int, Result]]:
    waiting = iter(range(len(shards)))
    staff: list[_Worker] = []
    try:
        for _ in range(workers):
            staff.append(_hire(stage))
            staff[-1].shard = next(waiting)
            staff[-1].connection.send(shards[staff[-1].shard])
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
                worker.shard = next(waiting, -1)
                if worker.shard < 0:
                    del busy[worker.connection]
                else:
                    worker.connection.send(shards[worker.shard])
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
    process.start()
    theirs.close()  # so that a dead worker reads as the end of the pipe
    return _Worker(process, ours)


def _receive(worker: _Worker) -> tuple[str, Any]:
    try:
        kind, value = worker.connection.recv()
    except (EOFError, ConnectionError) as error:
        worker.process.join()
        raise UsageError(
            "a worker process died, most often for lack of memory",
            found=f"exit code {worker.process.exitcode}",
            hint="What was committed is kept: run again with fewer --workers "
            "or a smaller --batch-size",
        ) from error
    return kind, value


def _work(connection: Connection, stage: Stage[Any, Any]) -> None:
    """The worker: prepare once, then a shard in, a result out, until the parent is gone."""
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
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
            connection.send(("fault", RuntimeError(f"{type(error).__name__}: {error}")))
    except (EOFError, ConnectionError):
        return
