"""Threads that share out blocks of work, each block computed by one thread alone.

PyTorch's own threads split every operation and wait for the slowest at its end: beside another
process that keeps a core busy, each of the hundreds of small operations of a search waits for that
core. Here a thread that was put aside delays the one block that it holds, while the others take
the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier, Lock, local
from typing import TypeVar

import torch

T = TypeVar("T")
Take = Callable[[], "int | None"]  # gives the number of the next block, None after the last

_lock = Lock()
_inside = local()  # set in the threads of a pool: work inside work stays in its thread
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def share_out(work: Callable[[Take], T], blocks: int, *, alone: bool = False) -> list[T]:
    """Run `work` in as many threads as PyTorch may use, and return what each of them returns.

    Args:
        work: Called once a thread with a function that gives the number of the next block, None
            when all are taken; each block is given to one thread. PyTorch's operations use one
            thread in it and record no gradients.
        blocks: How many blocks there are.
        alone: Whether to use the calling thread only, as it is.

    Raises:
        Exception: The first that `work` raised; the blocks not yet taken are left.
    """
    taking, numbers = Lock(), iter(range(blocks))

    def take() -> int | None:
        with taking:
            return next(numbers, None)

    def one() -> T:
        try:
            with torch.no_grad():
                return work(take)
        except BaseException:
            for _ in iter(take, None):  # so that the other threads end soon
                pass
            raise

    here = alone or hasattr(_inside, "here")
    threads = 1 if here else min(torch.get_num_threads(), blocks)
    if threads <= 1:
        return [one()]
    pool = _pool(torch.get_num_threads())
    futures = [pool.submit(one) for _ in range(threads)]
    try:
        wait(futures)
    except BaseException:  # an interrupt: the threads must not go on for a minute
        for _ in iter(take, None):
            pass
        raise
    return [future.result() for future in futures]


def _pool(threads: int) -> ThreadPoolExecutor:
    # By process too: a forked child has none of its parent's threads.
    key = (os.getpid(), threads)
    with _lock:
        if key not in _pools:
            started = Barrier(threads + 1)

            def begin() -> None:
                # A thread takes the common number at its first use of it: later it would undo ours.
                torch.get_num_threads()
                torch.set_num_threads(1)  # of this thread, and of every thread that is new
                _inside.here = True
                started.wait()

            pool = ThreadPoolExecutor(threads, "lqtse-search")
            for _ in range(threads):
                pool.submit(begin)
            started.wait()
            torch.set_num_threads(threads)
            _pools[key] = pool
        return _pools[key]
