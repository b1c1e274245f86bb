"""Real processes, really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import psutil
import pytest

from pipeline.llm.children import Children, deaf_to_interrupts

SLEEPER = [sys.executable, "-S", "-c", "import time; print(flush=True); time.sleep(600)"]
DEAF = [*SLEEPER[:-1], f"import signal; signal.signal(15, signal.SIG_IGN); {SLEEPER[-1]}"]

linux = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the guard needs Linux")


def gone(process: psutil.Process, seconds: float = 20.0) -> bool:
    """Whether it ends within that time; one that nobody has waited for counts as ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def start() -> Iterator[Callable[[list[str]], subprocess.Popen[bytes]]]:
    """Starts processes, returns when they have begun, and leaves none behind."""
    with ExitStack() as stack:

        def begin(command: list[str]) -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            return process

        yield begin


def test_what_was_started_since_is_ended_and_nothing_else(start: Any) -> None:
    older = start(SLEEPER)
    with closing(Children()) as children:
        newer = start(SLEEPER)
        children.look()
        children.end()
        assert newer.wait(20) == -signal.SIGTERM
        assert older.poll() is None
    children.close()
    assert older.poll() is None


def test_one_that_does_not_listen_is_ended_for_good(start: Any) -> None:
    with closing(Children()) as children:
        process = start(DEAF)
        children.end(patience=0.1)
        assert process.wait(20) == -signal.SIGKILL


@linux
def test_nothing_outlives_a_process_that_is_killed() -> None:
    script = (
        "import subprocess, time\n"
        "from pipeline.llm.children import Children\n"
        "children = Children()\n"
        f"child = subprocess.Popen({SLEEPER!r}, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "children.look()\n"
        "print(child.pid, children._guard.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as us:
        assert us.stdout is not None
        below = [psutil.Process(int(number)) for number in us.stdout.readline().split()]
        assert len(below) == 2
        us.kill()
    assert all(gone(process) for process in below)


def test_a_process_started_deaf_does_not_hear_ctrl_c(start: Any) -> None:
    with closing(Children()), deaf_to_interrupts():
        process = start(SLEEPER)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
