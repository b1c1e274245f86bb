"""Holding a cache for writing: its folder, its lease, and no leftovers of writers that died."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cache_store.errors import UsageError, storage_errors
from cache_store.files import DISK, FileLayer, sweep
from cache_store.layout import FOLDERS, QUARANTINE_FOLDER, check_folder
from cache_store.lease import Lease


@contextmanager
def hold(folder: Path, *, create: bool = False, layer: FileLayer = DISK) -> Iterator[Lease]:
    """Hold the lease of a cache, to its end; no manifest is read.

    Args:
        folder: The cache.
        create: Make the folder if it is not there.
        layer: The operations on the disk.

    Raises:
        LeaseHeldError: If another process writes to it.
        UsageError: If the folder holds something else than a cache.
        DataError: If there is no such folder and `create` is false.
        StorageError: If it cannot be written.
    """
    check_folder(folder, create)
    with storage_errors(folder):
        try:
            layer.make_folder(folder)
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
            raise UsageError("cannot make a folder here", where=folder) from error
        lease = Lease(folder)
        lease.acquire()
    try:
        with storage_errors(folder):
            for name in (".", *FOLDERS, QUARANTINE_FOLDER):
                sweep(folder / name, layer)
        yield lease
    finally:
        lease.release()
