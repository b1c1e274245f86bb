"""Whole files of one cache under a second name in another: the bytes are there once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cache_store.errors import DamagedError, storage_errors
from cache_store.files import DISK, FileLayer, commit_file, copy_file
from cache_store.manifest import FileEntry, check_content


def link_content(
    source: Path, target: Path, entry: FileEntry, *, copy: bool = False, layer: FileLayer = DISK
) -> FileEntry:
    """Make a file of one cache a file of another, under the same name.

    A second name of the same bytes where the file system has those, else a copy; content files are
    never changed in place, so neither cache can harm the other. All bytes are read first, so that
    damage does not spread, and a file that is there already is kept.

    Args:
        source: The folder of the cache that has the file.
        target: The folder of the cache that gets it.
        entry: The file.
        copy: Copy in any case.
        layer: The operations on the disk.

    Raises:
        DamagedError: If the file is not what its cache says.
        StorageError: If it cannot be written.
    """
    origin, place = check_content(source, entry), target / entry.path
    with suppress(DamagedError):
        check_content(target, entry)
        return entry
    with storage_errors(place):
        layer.make_folder(place.parent)
        layer.remove(place)
        if not copy:
            # Another disk, too many names, a file system that has no links: then a copy.
            with suppress(OSError):
                layer.link(origin, place)
                layer.sync_folder(place.parent)
                return entry
        commit_file(
            place.parent,
            place.suffix,
            lambda path: copy_file(origin, path),
            lambda _: None,
            layer,
        )
    check_content(target, entry)
    return entry
