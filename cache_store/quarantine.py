"""Damaged files are moved aside with a note, never deleted: somebody may have a use for them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

from cache_store.errors import storage_errors
from cache_store.files import DISK, FileLayer, replace_file
from cache_store.layout import QUARANTINE_FOLDER


def quarantine(folder: Path, name: str, why: str, layer: FileLayer = DISK) -> str:
    """Move a file aside; return its new name, relative to the cache as the old one.

    Args:
        folder: The cache.
        name: The file.
        why: What is wrong with it, for the note that is written beside it first.
        layer: The operations on the disk.

    Raises:
        StorageError: If it cannot be moved.
    """
    source = folder / name
    place = folder / QUARANTINE_FOLDER
    with storage_errors(place):
        layer.make_folder(place)
        target = place / name.replace("/", "-")
        count = 1
        while target.exists():  # of the same name, moved aside before
            count += 1
            target = place / f"{name.replace('/', '-')}.{count}"
        note = {
            "file": name,
            "why": why,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        text = json.dumps(note, indent=1, ensure_ascii=False) + "\n"
        replace_file(target.with_name(f"{target.name}.note"), text.encode(), layer)
        layer.rename(source, target)
        layer.sync_folder(place)
        layer.sync_folder(source.parent)
    return f"{QUARANTINE_FOLDER}/{target.name}"
