"""Whether a place can be written, found out before any work is done for it."""

from __future__ import annotations

import uuid
from pathlib import Path

from cache_store.errors import StorageError, UsageError, storage_errors
from cache_store.files import TMP_PREFIX


def make_folder(folder: Path) -> None:
    """Create a folder, if it is not there, and make sure that files can be written in it.

    Raises:
        StorageError: It cannot be created or written.
    """
    with storage_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StorageError("a part of the path is a file", where=folder) from error
        except FileNotFoundError as error:
            # Where folders cannot be made at all, as in /proc.
            raise StorageError("no folder can be made here", where=folder) from error
        probe = folder / f"{TMP_PREFIX}{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()


def check_file(path: Path) -> None:
    """Make sure that a file can be written at `path`; its folder is created.

    Raises:
        UsageError: It is a folder.
        StorageError: Its folder cannot be created or written.
    """
    if path.is_dir():
        raise UsageError("the output is a folder", where=path, expected="a file to write")
    make_folder(path.parent)
