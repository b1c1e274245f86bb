"""What is finished of a folder of recordings: a line of JSON each, in `DIR/separated.jsonl`.

A recording is finished if its line has the key of what is asked for now and its outputs have the
sizes that the line says. A line is written when the outputs are whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cache_store.errors import storage_errors
from trainer.separate_file import Separated, Wanted

NAME = "separated.jsonl"


@dataclass(frozen=True)
class Task:
    """One recording.

    Attributes:
        name: Relative to the folder.
        source: Its path.
        wanted: What to take out of it, and where to put it.
        key: Of all that shapes what comes out.
    """

    name: str
    source: Path
    wanted: tuple[Wanted, ...]
    key: str


def task_key(base: list[Any], source: Path, plan: Sequence[Wanted]) -> str:
    """Changes with the recording, its outputs and `base`, which is all else that shapes them."""
    status = source.stat()
    names = [[one.query, str(one.output), str(one.residual)] for one in plan]
    text = json.dumps([base, status.st_size, status.st_mtime_ns, names], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_done(out: Path) -> dict[str, dict[str, Any]]:
    """The last whole line of each recording: a killed process may have left half of one."""
    path = out / NAME
    found: dict[str, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                found[entry["recording"]] = entry
            except (ValueError, KeyError, TypeError):
                continue
    return found


def is_finished(task: Task, known: dict[str, dict[str, Any]]) -> bool:
    """Whether a recording has nothing left to do."""
    entry = known.get(task.name)
    if entry is None or entry.get("key") != task.key:
        return False
    sizes = entry.get("bytes", {})
    return all(
        path.is_file() and path.stat().st_size == sizes.get(path.name) for path in _paths(task)
    )


def _paths(task: Task) -> list[Path]:
    return [path for one in task.wanted for path in (one.output, one.residual) if path is not None]


class DoneJournal:
    """Notes what is finished; made by `open_journal`."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def note(self, task: Task, result: Sequence[Separated]) -> None:
        """Write a recording's line: its outputs are whole."""
        self._file.write(json.dumps(_entry(task, result)) + "\n")
        self._file.flush()


@contextmanager
def open_journal(out: Path) -> Iterator[DoneJournal]:
    """Open the journal of a folder to append to it.

    Raises:
        StorageError: It cannot be written.
    """
    path = out / NAME
    with storage_errors(path):
        # A killed process may have left half a line: the next one must not continue it.
        broken = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
        with path.open("a", encoding="utf-8") as file:
            if broken:
                file.write("\n")
            yield DoneJournal(file)


def _entry(task: Task, result: Sequence[Separated]) -> dict[str, Any]:
    return {
        "recording": task.name,
        "key": task.key,
        "bytes": {path.name: path.stat().st_size for path in _paths(task)},
        "sounds": [
            {
                "query": one.query,
                "output": str(one.output),
                "energy_share": one.energy_share,
                "clap_score": one.clap_score,
                "confidence": one.confidence,
                "clipped": one.clipped,
            }
            for one in result
        ],
        "seconds": result[0].samples / result[0].sample_rate,
    }
