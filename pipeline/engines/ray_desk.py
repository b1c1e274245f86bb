"""What runs inside a Ray actor: a stage, prepared once, at work in a thread of its own.

The actor's own thread only carries news to the driver, so it answers while the stage computes; and
all that the stage computes runs in one thread, whose number of CPU threads is the stage's own, as
it is in a worker process of the local engine. Errors travel as values: what Ray would wrap in a
traceback of its own arrives as it was raised.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from importlib.metadata import PackageNotFoundError, version
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from cache_store.errors import LqtseError, UsageError
from pipeline.engines.base import Stage, unexpected

NEWS_SECONDS = 1.0  # how long the driver is kept waiting for news at most
_PACKAGES = ("lqtse", "torch", "numpy", "pyarrow")


class Desk:
    """One worker; shards in, news out.

    Args:
        stage: What to do.
    """

    def __init__(self, stage: Stage[Any, Any]) -> None:
        self._shards: SimpleQueue[Any] = SimpleQueue()
        self._news: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        Thread(target=self._work, args=(stage,), daemon=True).start()

    def hello(self) -> tuple[str, dict[str, str]]:
        """Where this worker runs (machine and process), and with which versions."""
        return f"{socket.gethostname()}, process {os.getpid()}", versions()

    def news(self, *shard: Any) -> tuple[int, str, Any]:
        """Begin a shard, if one is given, and tell what happened since the last call.

        Returns:
            Rows finished meanwhile; what happened, `""` for nothing yet, `done` or `fault`; and the
            result or the error.
        """
        for one in shard:
            self._shards.put(one)
        rows, end = 0, time.monotonic() + NEWS_SECONDS
        while True:
            try:
                kind, value = self._news.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                return rows, "", None
            if kind != "rows":
                return rows, kind, value
            rows += value

    def _work(self, stage: Stage[Any, Any]) -> None:
        try:
            _look_for(stage.folders)
            work = stage.prepare()
            while True:
                result = work(self._shards.get(), lambda rows: self._news.put(("rows", rows)))
                self._news.put(("done", result))
        except LqtseError as error:
            self._news.put(("fault", error))
        except Exception as error:  # noqa: BLE001 - told to the driver, which ends the run
            self._news.put(("fault", unexpected(error)))


def versions() -> dict[str, str]:
    """What a worker's results depend on: the same on every machine, or rows may differ."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _look_for(folders: tuple[str, ...]) -> None:
    for folder in folders:
        if not os.path.isdir(folder):  # noqa: PTH112 - a plain question about a plain name
            raise UsageError(
                "a worker does not see a folder of this run",
                where=folder,
                found=f"not there on {socket.gethostname()}",
                hint="The machines of a cluster need a file system that they share, "
                "mounted at the same path",
            )
