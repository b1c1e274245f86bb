"""Atomic files: a reader sees a file whole or not at all, also after a crash or a full disk.

A file is written under a temporary name, flushed to the disk, checked, hashed, and only then moved
to its real name, which for content files is its hash; the folder is flushed last. Every step goes
through one small `FileLayer`, so that a test can let the n-th step fail or the process die there.
What a dead process leaves behind is named `.tmp-*` and swept by the next writer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TMP_PREFIX = ".tmp-"
NAME_LENGTH = 32  # hexadecimal characters of a content file's name: the first 128 bits of its hash
_CHUNK = 1 << 18  # bytes; larger ones are no faster and raise the peak of a small command


class FileLayer:
    """The operations on the disk that a commit is made of; each is one point of failure."""

    def make_folder(self, folder: Path) -> None:
        """Create `folder` and its parents, if they are not there; then their names are kept."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            self.sync_name(path)

    def write(self, path: Path, write: Callable[[Path], None]) -> None:
        """Let `write` create the file at `path`."""
        write(path)

    def sync_file(self, path: Path) -> None:
        """Return once the bytes of `path` are on the disk."""
        _sync(path, os.O_RDONLY)

    def rename(self, source: Path, target: Path) -> None:
        """Give `source` the name `target`, in one step."""
        source.replace(target)

    def link(self, source: Path, target: Path) -> None:
        """Give `source` the second name `target`; FileExistsError if that name is taken."""
        os.link(source, target)

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in `folder` are on the disk."""
        _sync(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))

    def sync_name(self, path: Path) -> None:
        """Return once the name of `path` is on the disk, in the folder that it lies in."""
        # A folder that we may write to but not list cannot be opened; its owner decided so.
        with contextlib.suppress(PermissionError):
            self.sync_folder(path.resolve().parent)

    def remove(self, path: Path) -> None:
        """Remove a file; it may be gone already."""
        path.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


DISK = FileLayer()


@dataclass(frozen=True)
class Committed:
    """A content file that is on the disk under its own name.

    Attributes:
        path: Where it lies.
        sha256: The hash of all its bytes, in hex.
        bytes: Its size.
    """

    path: Path
    sha256: str
    bytes: int


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex; memory does not grow with the file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def content_name(sha256: str, suffix: str) -> str:
    """Return the file name that content with this hash goes by."""
    return sha256[:NAME_LENGTH] + suffix


def commit_file(
    folder: Path,
    suffix: str,
    write: Callable[[Path], None],
    check: Callable[[Path], None],
    layer: FileLayer = DISK,
) -> Committed:
    """Write a content file so that its name exists only with all of its bytes behind it.

    A file of the same name is replaced: whole, it has the same bytes; damaged, it is mended.

    Args:
        folder: Where the file goes; created if missing.
        suffix: The end of its name, with the dot.
        write: Creates the file at the temporary path it is given.
        check: Reopens the temporary file and raises if it is not what was meant.
        layer: The operations on the disk.
    """
    layer.make_folder(folder)
    with _temporary(folder, suffix, layer) as tmp:
        layer.write(tmp, write)
        layer.sync_file(tmp)
        check(tmp)
        digest, size = hash_file(tmp), tmp.stat().st_size
        target = folder / content_name(digest, suffix)
        layer.rename(tmp, target)
        layer.sync_folder(folder)
    return Committed(target, digest, size)


def link_file(path: Path, data: bytes, layer: FileLayer = DISK) -> None:
    """Create `path` with `data`, whole and only if no such file exists.

    Raises:
        FileExistsError: If the name is taken; that file is left as it is.
    """
    layer.make_folder(path.parent)
    with _temporary(path.parent, path.suffix, layer) as tmp:
        layer.write(tmp, lambda place: _write_bytes(place, data))
        layer.sync_file(tmp)
        layer.link(tmp, path)
        layer.sync_folder(path.parent)


def replace_file(path: Path, data: bytes, layer: FileLayer = DISK) -> None:
    """Give `path` new content: a reader sees the old bytes or the new, never a mixture."""
    layer.make_folder(path.parent)
    with _temporary(path.parent, path.suffix, layer) as tmp:
        layer.write(tmp, lambda place: _write_bytes(place, data))
        layer.sync_file(tmp)
        layer.rename(tmp, path)
        layer.sync_folder(path.parent)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes, for `commit_file` to write."""
    shutil.copyfile(source, target)


def sweep(folder: Path, layer: FileLayer = DISK) -> int:
    """Remove what dead writers left in `folder`; return how many files went.

    Only the holder of the lease may call this: a live writer's files look the same.
    """
    if not folder.is_dir():
        return 0
    leftovers = sorted(folder.glob(f"{TMP_PREFIX}*"))
    for path in leftovers:
        layer.remove(path)
    return len(leftovers)


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


@contextlib.contextmanager
def _temporary(folder: Path, suffix: str, layer: FileLayer) -> Iterator[Path]:
    """A temporary path in `folder` that is gone afterwards, whatever happened."""
    path = folder / f"{TMP_PREFIX}{uuid.uuid4().hex}{suffix}"
    try:
        yield path
    except BaseException:
        # The fault that brought us here is the one to tell; the next writer sweeps.
        with contextlib.suppress(OSError):
            layer.remove(path)
        raise
    layer.remove(path)
