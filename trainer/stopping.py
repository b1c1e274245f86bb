"""Ctrl-C and `kill` end a run after the step at hand, with its state saved.

Python raises KeyboardInterrupt anywhere, also in the middle of an optimizer's update. So the
signals only set a flag; a second one is obeyed at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cache_store.console import note

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """Whether the run was asked to stop."""

    requested: bool = False


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Yield a request that SIGINT and SIGTERM set while the block runs.

    Off the main thread signals cannot be caught, and the request is never set.
    """
    stop = StopRequest()

    def ask(number: int, _: object) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        note("stopping after this step; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
