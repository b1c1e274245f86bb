"""Runs `lqtse-cache` in processes of their own, again and again, and imports its packages once.

Reads a line of JSON for each run: `args`, and `die_in`, a method of the book on whose entry the
process kills itself as `kill -9` would, "" for none. Answers with the process's id when it begins,
and with its exit code when it has ended (the negative signal if it was killed).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from cache_store import console
from pipeline.cli import PROG, app
from pipeline.llm.batch.book import Book


def run(args: list[str], die_in: str) -> None:
    """The child's part; never returns."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(os.open(os.environ["FORKER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    if die_in:

        def die(*args: Any, **named: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(Book, die_in, die)
    os._exit(console.run(app, PROG, args))


def main() -> None:
    """Fork for each line."""
    import openai  # noqa: F401
    import pyarrow  # noqa: F401
    import rensa  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            run(order["args"], order["die_in"])
        print(json.dumps({"pid": child}), flush=True)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
