"""What a disk may hold after the current went off, rebuilt from a trace of what a command did.

The model is what POSIX promises and no more: the bytes of a file are on the disk once it was
synced, a name is there once its folder was synced, and before that each may be there or not. So
one trace gives many disks: for every moment, every choice of folders whose changed names made it,
with the unsynced bytes there, gone (an empty file), or half there. File systems are kinder than
that, each in its own way; a program that holds against this model holds on all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ALL, NONE, HALF = "all", "none", "half"
MOST_FOLDERS = 5  # with changed names at once; more than that would be 2^n disks


@dataclass
class File:
    """Bytes: as the process sees them, and as they were when last synced."""

    seen: bytearray = field(default_factory=bytearray)
    synced: bytes = b""

    def after(self, kept: str) -> bytes:
        """What is there after the cut, if `kept` of what was not synced made it."""
        if kept == ALL or self.seen == self.synced:
            return bytes(self.seen)
        if kept == NONE:
            return self.synced
        # Half of what differs: what was synced before stays.
        common = min(len(self.seen), len(self.synced))
        one, other = (np.frombuffer(data, np.uint8, common) for data in (self.seen, self.synced))
        differs = np.flatnonzero(one != other)
        first = int(differs[0]) if len(differs) else common
        middle = (first + len(self.seen)) // 2
        return bytes(self.seen[:middle]) + self.synced[middle:]


@dataclass
class Folder:
    """Names: as the process sees them, and as they were when last synced."""

    seen: dict[str, File | Folder] = field(default_factory=dict)
    synced: dict[str, File | Folder] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return {k: id(v) for k, v in self.seen.items()} != {
            k: id(v) for k, v in self.synced.items()
        }


Disk = dict[str, bytes | None]  # path to bytes; None for a folder


@dataclass(frozen=True)
class Event:
    """One line of a trace."""

    what: str
    first: str
    second: str
    handle: int
    offset: int
    data: bytes


def read_trace(path: Path) -> list[Event]:
    """Read what the shim wrote."""
    raw, events, place = path.read_bytes(), [], 0
    while place < len(raw):
        end = raw.index(b"\n", place)
        what, first, second, handle, offset, size = raw[place:end].decode().split("\t")
        place = end + 1 + int(size)
        data = raw[end + 1 : place]
        events.append(Event(what, first, second, int(handle), int(offset), data))
    return events


class Machine:
    """A file system in memory, of which everything that lay there at the beginning is synced.

    Args:
        root: The folder that the trace is of; read now, as it is before the command.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _load(root)
        self._open: dict[int, File | Folder] = {}

    def apply(self, event: Event) -> None:
        """Do what the process did."""
        if event.what in ("create", "open"):
            folder, name = self._place(event.first)
            if name not in folder.seen:
                folder.seen[name] = File()
            node = folder.seen[name]
            if event.what == "create" and isinstance(node, File):
                node.seen.clear()
            self._open[event.handle] = node
        elif event.what == "write":
            node = self._file(event.handle)
            node.seen.extend(bytes(max(0, event.offset - len(node.seen))))
            node.seen[event.offset : event.offset + len(event.data)] = event.data
        elif event.what == "truncate":
            del self._file(event.handle).seen[event.offset :]
        elif event.what == "sync":
            node = self._open[event.handle]
            if isinstance(node, File):
                node.synced = bytes(node.seen)
            else:
                node.synced = dict(node.seen)
        elif event.what == "mkdir":
            folder, name = self._place(event.first)
            folder.seen[name] = Folder()
        elif event.what == "unlink":
            folder, name = self._place(event.first)
            del folder.seen[name]
        elif event.what in ("rename", "link"):
            folder, name = self._place(event.first)
            node = folder.seen.pop(name) if event.what == "rename" else folder.seen[name]
            target, new = self._place(event.second)
            target.seen[new] = node

    def disks(self) -> Iterator[Disk]:
        """Every disk that the model allows at this moment."""
        changed = [folder for folder in _folders(self._top) if folder.changed][-MOST_FOLDERS:]
        for made_it in itertools.product((False, True), repeat=len(changed)):
            there = {id(folder) for folder, yes in zip(changed, made_it, strict=True) if yes}
            for kept in (ALL, NONE, HALF):
                disk: Disk = {}
                _spread(self._top, "", there, kept, disk)
                yield disk

    def _place(self, path: str) -> tuple[Folder, str]:
        relative = Path(path).relative_to(self._root)
        folder = self._top
        for part in relative.parts[:-1]:
            node = folder.seen[part]
            assert isinstance(node, Folder)
            folder = node
        if not relative.parts:  # the root itself was opened: stand in for its parent
            return Folder(seen={"": self._top}), ""
        return folder, relative.parts[-1]

    def _file(self, handle: int) -> File:
        node = self._open[handle]
        assert isinstance(node, File)
        return node


def write_disk(disk: Disk, root: Path) -> None:
    """Write a disk's files below `root`."""
    for path, data in disk.items():
        if data is None:
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).write_bytes(data)


def _load(path: Path) -> Folder:
    nodes: dict[str, File | Folder] = {}
    for child in path.iterdir():
        if child.is_dir():
            nodes[child.name] = _load(child)
        else:
            data = child.read_bytes()
            nodes[child.name] = File(bytearray(data), data)
    return Folder(nodes, dict(nodes))


def _folders(top: Folder) -> Iterator[Folder]:
    yield top
    for node in {id(node): node for node in (*top.seen.values(), *top.synced.values())}.values():
        if isinstance(node, Folder):
            yield from _folders(node)


def _spread(folder: Folder, place: str, there: set[int], kept: str, disk: Disk) -> None:
    names = folder.seen if id(folder) in there else folder.synced
    for name, node in sorted(names.items()):
        path = f"{place}{name}"
        if isinstance(node, Folder):
            disk[path] = None
            _spread(node, f"{path}/", there, kept, disk)
        else:
            disk[path] = node.after(kept)
