"""Processes that a library starts for us, and that shall not outlive us, however we end.

An inference engine runs in processes of its own. Left behind by a `kill -9`, they keep the memory
of the GPU, and the same command run again finds none. So a guard of a few lines, in one more
process, waits for the end of this one at a pipe, and then ends what is left. It holds the others by
file descriptors (`pidfd_open`), so that a number that was given to another process since hits
nobody.

Ctrl-C goes to every process of a terminal. Ours finish what was begun, so the ones started inside
`deaf_to_interrupts` do not hear it; they are told by us.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

PATIENCE = 5.0  # seconds from a polite end to a rude one
_LOOK = 0.02  # seconds between looks at whether they have ended

_GUARD = """
import os, signal, sys
held = []
for line in sys.stdin:
    try:
        held.append(os.pidfd_open(int(line)))
    except OSError:
        pass
for process in held:
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:
        pass
"""


class Children:
    """The processes that are started below this one from now on."""

    def __init__(self) -> None:
        # Python's own helper, shared by whoever needs it; begun now so that it counts as older.
        resource_tracker.ensure_running()
        self._guard = _start_guard()
        self._known = {process.pid for process in _below()}
        if self._guard is not None:
            self._known.add(self._guard.pid)
        self._older = frozenset(self._known)

    def look(self) -> None:
        """Tell the guard of processes that were started since the last look."""
        for process in _below():
            if process.pid not in self._known:
                self._known.add(process.pid)
                if self._guard is not None and self._guard.stdin is not None:
                    with contextlib.suppress(BrokenPipeError):
                        self._guard.stdin.write(f"{process.pid}\n")
                        self._guard.stdin.flush()

    def end(self, patience: float = PATIENCE) -> None:
        """End those that are left: politely first, after `patience` seconds for good."""
        import psutil

        left = [process for process in _below() if process.pid not in self._older]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        for process in _still_there(left, patience):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _still_there(left, patience)

    def close(self) -> None:
        """Dismiss the guard; harmless if that was done."""
        if self._guard is not None:
            self._guard.kill()  # before its pipe closes: it shall do nothing
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes that this thread starts inside do not hear Ctrl-C."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _start_guard() -> subprocess.Popen[str] | None:
    if not hasattr(os, "pidfd_open"):
        return None  # not Linux
    # In a session of its own: a Ctrl-C, or the end of the terminal, must not end it first.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def _still_there(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that have not ended in time; they are not waited for, since others may want to."""
    end = time.monotonic() + seconds
    while (left := [one for one in processes if _runs(one)]) and time.monotonic() < end:
        time.sleep(_LOOK)
    return left


def _runs(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _below() -> list[psutil.Process]:
    import psutil

    return psutil.Process().children(recursive=True)
