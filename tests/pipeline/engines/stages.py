"""Stages that the tests of every engine run; some shards misbehave when told to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache_store.errors import DamagedError
from pipeline.progress import Tick


@dataclass(frozen=True)
class Square:
    """Squares numbers.

    Attributes:
        fault: What shard 3 does: "error", "bug", "death", or "death once"; "unprepared" for all.
        folder: Where shards leave a file that names them and their process, if they wait.
        waits: Shards that wait until there is a file "go" beside theirs, a minute at most.
    """

    fault: str = ""
    folder: str = "."
    waits: tuple[int, ...] = ()
    device: str = "cpu"
    threads: int = 1

    @property
    def folders(self) -> tuple[str, ...]:
        return (self.folder,)

    def prepare(self) -> Callable[[int, Tick], tuple[int, int]]:
        if self.fault == "unprepared":
            raise DamagedError("no model", where="the hub")
        return self._work

    def _work(self, shard: int, tick: Tick) -> tuple[int, int]:
        tick(1)
        if self.fault == "error" and shard == 3:
            raise DamagedError("broken", where="file 3", hint="mend it")
        if self.fault == "bug" and shard == 3:
            raise ZeroDivisionError("oops")
        if self.fault == "death" and shard == 3:
            os._exit(9)
        if self.fault == "death once" and shard == 3 and not self._died_before():
            time.sleep(1.5)  # long enough for the tick to be told
            os._exit(9)
        if shard in self.waits:
            Path(self.folder, f"{shard}.{os.getpid()}").touch()
            end = time.monotonic() + 60
            while not Path(self.folder, "go").exists() and time.monotonic() < end:
                time.sleep(0.02)
        tick(shard - 1)
        return shard * shard, os.getpid()

    def _died_before(self) -> bool:
        try:
            Path(self.folder, "died").touch(exist_ok=False)
        except FileExistsError:
            return True
        return False
