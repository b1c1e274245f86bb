"""Ctrl-C inside an event loop: first a request to stop, then a stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGINT or SIGTERM; cancel the running task at the second.

    Does nothing outside of the main thread and on systems without such handlers.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM)
    asked = 0

    def handle() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            stop()
        elif task is not None:
            task.cancel()

    previous = [signal.getsignal(number) for number in signals]
    try:
        for number in signals:
            loop.add_signal_handler(number, handle)
    except (NotImplementedError, RuntimeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(signals, previous, strict=True):
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
