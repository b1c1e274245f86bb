"""Several processes at one cache: two writers, and readers while a writer publishes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from cache_store.cache import open_cache
from cache_store.errors import LeaseHeldError
from cache_store.manifest import manifest_numbers
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import DIM, add_step, caption_table, captions

ROWS = 4
ROOT = Path(__file__).parents[2]


def write(path: Path, first: int, turns: int) -> int:
    """Add captions in so many turns; returns how often somebody else was at it."""
    waited = 0
    for turn in range(turns):
        while True:
            try:
                with open_writer(path) as writer:
                    entry = writer.write_captions(caption_table(ROWS, first + ROWS * turn))
                    writer.publish(captions=(*writer.current.captions, entry))
                break
            except LeaseHeldError:
                waited += 1
                time.sleep(0.005)
    return waited


def read(path: Path, turns: int) -> int:
    """Open and read until `turns` more manifests are there; returns how often it was opened."""
    opened, last = 0, 0
    end = manifest_numbers(path)[-1] + turns
    while last < end:
        with open_cache(path) as cache:
            number, rows = cache.manifest.number, len(cache)
            assert number >= last, "an older manifest after a newer one"
            assert rows == ROWS * number, "a manifest and rows that do not belong together"
            texts = cache.captions(range(rows))
            assert texts == captions(rows)
            assert cache.embeddings.shape == (rows, DIM)
        last, opened = number, opened + 1
    return opened


def _start(what: str, path: Path, *values: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.races", what, str(path), *map(str, values)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def _finish(children: list[subprocess.Popen[str]]) -> list[int]:
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children)
    return [int(text) for text in said]


def race_writers(path: Path, writers: int = 2, turns: int = 10) -> int:
    """Let writers race; nothing may be lost. Returns how often one was told to wait."""
    children = [_start("write", path, 10_000 * number, turns) for number in range(writers)]
    waited = sum(_finish(children))
    assert manifest_numbers(path) == list(range(1, writers * turns + 1))
    with open_cache(path) as cache:
        assert sum(entry.rows for entry in cache.manifest.captions) == writers * turns * ROWS
    assert verify_cache(path).faults == []
    return waited


def race_readers(path: Path, readers: int = 3, turns: int = 10) -> int:
    """Let readers open a cache while it grows; returns how often they opened it."""
    add_step(path, ROWS)
    children = [_start("read", path, turns) for _ in range(readers)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for turn in range(1, turns + 1):
        add_step(path, ROWS, first=ROWS * turn)
        time.sleep(0.02)
    return sum(_finish(children))


def main() -> None:
    """One of the processes."""
    what, path, *values = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    act = {"read": read, "write": write}[what]
    print(act(Path(path), *map(int, values)))


if __name__ == "__main__":
    main()
