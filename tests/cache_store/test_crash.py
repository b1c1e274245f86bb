"""Writing under faults: after any of them the cache is as before or as after, never between.

The same write (two tables, their embeddings, a manifest, the card) is made to fail, and then to
die, at each of its operations on the disk in turn; then two processes race, and a real disk fills.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cache_store.cache import open_cache
from cache_store.errors import EXIT_DATA, StorageError
from cache_store.files import TMP_PREFIX, FileLayer
from cache_store.lease import LEASE_NAME
from cache_store.manifest import manifest_numbers
from cache_store.verify import verify_cache
from tests.cache_store.builders import add_step


class FaultyLayer(FileLayer):
    """Calls `fault` at the n-th operation: before it, or half-way through.

    Half-way is when half of a file was written, or the operation is done but not yet reported.
    """

    def __init__(self, nth: int, when: str, fault: Callable[[], None]) -> None:
        self.count = 0
        self._nth = nth
        self._when = when
        self._fault = fault

    def _step(self, act: Callable[[], None], halfway: Callable[[], None] = lambda: None) -> None:
        self.count += 1
        mine = self.count == self._nth
        if mine and self._when == "before":
            self._fault()
        act()
        if mine and self._when == "halfway":
            halfway()
            self._fault()

    def make_folder(self, folder: Path) -> None:
        self._step(lambda: super(FaultyLayer, self).make_folder(folder))

    def write(self, path: Path, write: Callable[[Path], None]) -> None:
        self._step(
            lambda: super(FaultyLayer, self).write(path, write),
            lambda: os.truncate(path, path.stat().st_size // 2),
        )

    def sync_file(self, path: Path) -> None:
        self._step(lambda: super(FaultyLayer, self).sync_file(path))

    def rename(self, source: Path, target: Path) -> None:
        self._step(lambda: super(FaultyLayer, self).rename(source, target))

    def link(self, source: Path, target: Path) -> None:
        self._step(lambda: super(FaultyLayer, self).link(source, target))

    def sync_folder(self, folder: Path) -> None:
        self._step(lambda: super(FaultyLayer, self).sync_folder(folder))

    def remove(self, path: Path) -> None:
        self._step(lambda: super(FaultyLayer, self).remove(path))


def no_fault() -> None:
    pass


def disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def add_second_step(path: Path, layer: FileLayer | None = None) -> None:
    add_step(path, 25, first=40, layer=layer)


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory if there is one: a process dies there as on a disk, only sooner."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def before(memory: Path) -> Path:
    path = memory / "before"
    add_step(path, 40)
    return path


@pytest.fixture(scope="module")
def operations(before: Path, memory: Path) -> int:
    """How many operations on the disk the second step takes."""
    path = memory / "count"
    shutil.copytree(before, path)
    layer = FaultyLayer(0, "before", no_fault)
    add_second_step(path, layer)
    return layer.count


def check_before_or_after(path: Path) -> None:
    with open_cache(path) as cache:
        assert (cache.manifest.number, len(cache)) in ((1, 40), (2, 65))
        cache.search(cache.embeddings[:2], k=3)
    assert verify_cache(path).faults == []


def check_goes_on(path: Path) -> None:
    """The same step again succeeds, and nothing of the accident is left."""
    if manifest_numbers(path) == [1]:
        add_second_step(path)
    else:
        add_step(path, 1, first=1000)
    report = verify_cache(path)
    assert report.faults == []
    assert not list(path.rglob(f"{TMP_PREFIX}*"))


@pytest.mark.parametrize("when", ["before", "halfway"])
def test_a_fault_at_any_step_leaves_before_or_after(
    before: Path, operations: int, memory: Path, when: str
) -> None:
    assert operations > 20
    for nth in range(1, operations + 1):
        path = memory / f"fault {when} {nth}"
        shutil.copytree(before, path)
        with pytest.raises(StorageError) as caught:
            add_second_step(path, FaultyLayer(nth, when, disk_full))
        assert caught.value.exit_code == EXIT_DATA
        assert "disk is full" in caught.value.message
        assert not (path / LEASE_NAME).exists()
        check_before_or_after(path)
        check_goes_on(path)


# One process that imports everything once and then, still without a thread, forks for each step.
DIE = """
import os, sys
from pathlib import Path
import pandas, psutil  # pyarrow and the lease load these when first used: once here, not 30 times
from tests.cache_store.test_crash import FaultyLayer, add_second_step, die

for nth, path in enumerate(sys.argv[1:], start=1):
    child = os.fork()
    if child == 0:
        add_second_step(Path(path), FaultyLayer(nth, "halfway", die))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_kill_at_any_step_leaves_before_or_after(
    before: Path, operations: int, memory: Path
) -> None:
    # For the disk, dying after a step is dying before the next: half-way covers all states.
    paths = [memory / f"kill {nth}" for nth in range(1, operations + 1)]
    for path in paths:
        shutil.copytree(before, path)
    done = subprocess.run(
        [sys.executable, "-c", DIE, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * operations
    for path in paths:
        assert (path / LEASE_NAME).exists() or path == paths[0]  # there, the folder is made first
        check_before_or_after(path)
        check_goes_on(path)


RACE = """
import sys, time
from pathlib import Path
from cache_store.errors import LeaseHeldError
from cache_store.writer import open_writer
from tests.cache_store.builders import caption_table

path, first = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for turn in range(5):
    while True:
        try:
            with open_writer(path) as writer:
                entry = writer.write_captions(caption_table(4, first + 4 * turn))
                writer.publish(captions=(*writer.current.captions, entry))
            break
        except LeaseHeldError:
            time.sleep(0.01)
"""


def test_two_racing_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(path), str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (0, 1000)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate()
        assert child.returncode == 0
    assert manifest_numbers(path) == list(range(1, 11))
    with open_cache(path) as cache:
        assert sum(entry.rows for entry in cache.manifest.captions) == 40
        assert len({entry.path for entry in cache.manifest.captions}) == 10
    assert verify_cache(path).faults == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"may not mount a file system: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_real_disk_that_fills_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "cache"
    add_step(path, 40)
    with pytest.raises(StorageError, match="the disk is full"):
        add_step(path, 20_000, first=40)
    check_before_or_after(path)
    add_step(path, 25, first=40)
    check_before_or_after(path)


def test_a_real_read_only_disk_is_told_in_one_line_and_can_be_read(small_disk: Path) -> None:
    path = small_disk / "cache"
    add_step(path, 40)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="the file system is read-only"):
        add_step(path, 25, first=40)
    check_before_or_after(path)
