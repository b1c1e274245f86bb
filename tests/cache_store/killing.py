"""Kill an action on a cache at each of its operations on the disk, each time on a fresh copy."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cache_store.files import FileLayer
from tests.cache_store.test_crash import FaultyLayer, no_fault

# One process that imports everything once and then, still without a thread, forks for each step.
_DIE = """
import os, sys
from importlib import import_module
from pathlib import Path
import pandas, psutil, cache_store.index.build
from tests.cache_store.test_crash import FaultyLayer, die

act = import_module(sys.argv[1]).act
for nth, path in enumerate(sys.argv[2:], start=1):
    child = os.fork()
    if child == 0:
        act(Path(path), FaultyLayer(nth, "halfway", die))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def count_operations(act: Callable[[Path, FileLayer], object], before: Path, spare: Path) -> int:
    """How many operations on the disk `act` takes on a copy of `before`, made at `spare`."""
    shutil.copytree(before, spare)
    layer = FaultyLayer(0, "before", no_fault)
    act(spare, layer)
    return layer.count


def kill_everywhere(module: str, before: Path, folder: Path, operations: int) -> list[Path]:
    """Copies of `before`; in each the `act` of a module was killed at another operation."""
    paths = [folder / f"kill {nth}" for nth in range(1, operations + 1)]
    for path in paths:
        shutil.copytree(before, path)
    done = subprocess.run(
        [sys.executable, "-c", _DIE, module, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * operations, done.stderr
    return paths
