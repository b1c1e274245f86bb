"""Outputs on their way: under a name of their own, locked while somebody writes them.

The kernel frees the lock when its process dies, however it dies. So what a killed process left can
be told from what a living one is writing, also by another container of the machine and after a
restart; the next run removes it. Where a file system knows no locks, leftovers stay.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cache_store.files import TMP_PREFIX

PREFIX = f"{TMP_PREFIX}sound-"


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A new empty file in the folder of `path`, with its suffix, ours until the block ends.

    It is gone afterwards, unless it was given another name.

    Raises:
        OSError: It cannot be created.
    """
    while True:
        tmp = path.parent / f"{PREFIX}{uuid.uuid4().hex}{path.suffix}"
        descriptor = os.open(tmp, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(descriptor)
        # A sweep may have come between the two.
        if tmp.exists():
            break
        os.close(descriptor)
    try:
        yield tmp
    finally:
        os.close(descriptor)
        tmp.unlink(missing_ok=True)


def sweep_unfinished(folder: Path) -> int:
    """Remove what dead processes left in a folder; how many files went."""
    gone = 0
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone already
            descriptor = os.open(path, os.O_RDWR)
            try:
                if _lock(descriptor):
                    path.unlink()
                    gone += 1
            finally:
                os.close(descriptor)
    return gone


def _lock(descriptor: int) -> bool:
    """Whether the lock of a file is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
