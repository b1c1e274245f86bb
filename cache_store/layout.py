"""Where things lie in a cache's folder, and whether a folder may become one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cache_store import schema
from cache_store.errors import DataError, UsageError, storage_errors

MANIFEST_FOLDER: Final = "manifest"
INDEX_FOLDER: Final = "index"
QUARANTINE_FOLDER: Final = "quarantine"  # damaged files that `repair` moved aside
CARD_NAME: Final = "README.md"
FOLDERS: Final = (MANIFEST_FOLDER, *schema.KINDS, INDEX_FOLDER)

# What may lie there before the first manifest: other stages begin their work with these.
_EARLY_NAMES = {*FOLDERS, QUARANTINE_FOLDER, "report"}
_EARLY_PREFIXES = (".", "ledger.")


def check_folder(folder: Path, create: bool) -> None:
    """Check that `folder` is a cache, or may become one.

    Args:
        folder: The folder; it need not exist if `create`.
        create: Whether it may be made.

    Raises:
        DataError: If it does not exist and may not be made.
        UsageError: If it is a file, or holds something else than a cache: nobody's README.md is
            to be overwritten by a mistyped path.
    """
    if not folder.exists():
        if create:
            return
        raise DataError(
            "no such cache",
            where=folder,
            hint=f"Make one: lqtse-cache generate {folder} -n 1000, "
            f"or lqtse-cache import {folder} --captions FILE",
        )
    if not folder.is_dir():
        raise UsageError("a cache is a folder", where=folder, found="a file")
    with storage_errors(folder):
        names = sorted(entry.name for entry in folder.iterdir())
    foreign = [
        name for name in names if name not in _EARLY_NAMES and not name.startswith(_EARLY_PREFIXES)
    ]
    if MANIFEST_FOLDER not in names and foreign:
        raise UsageError(
            "the folder holds something else than a cache",
            where=folder,
            found=", ".join(foreign[:3]),
            hint="Name an empty or a new folder",
        )
