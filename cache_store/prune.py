"""Let go of old manifests, and of files that no manifest names any more.

Manifests go first, so that none is ever there whose files are gone. What goes is what has the name
of a content file: nothing else in the folders is ours to remove.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cache_store import schema
from cache_store.errors import DamagedError, UsageError, storage_errors
from cache_store.files import DISK, NAME_LENGTH, FileLayer
from cache_store.layout import FOLDERS, MANIFEST_FOLDER
from cache_store.manifest import Manifest, manifest_numbers, manifest_path, read_manifest
from cache_store.shards import read_footer

CONTENT_NAME = re.compile(rf"[0-9a-f]{{{NAME_LENGTH}}}(\.[a-z0-9]+)+")


@dataclass(frozen=True)
class Waste:
    """What a cache does not need.

    Attributes:
        manifests: Numbers of old manifests.
        files: Files that no other manifest names.
        bytes: What their removal frees; a file that another cache shares frees nothing.
    """

    manifests: tuple[int, ...]
    files: tuple[Path, ...]
    bytes: int


def find_waste(folder: Path, keep: int) -> Waste:
    """Return what may go.

    Args:
        folder: The cache.
        keep: How many of the newest manifests stay.

    Raises:
        UsageError: If `keep` is below 1.
        DamagedError: If a manifest that stays is damaged: which files it needs is not known.
    """
    if keep < 1:
        raise UsageError("too few manifests to keep", expected="1 or more", found=keep)
    numbers = manifest_numbers(folder)
    staying = numbers[-keep:]
    manifests = [read_manifest(folder, number) for number in staying]
    named = {entry.path for manifest in manifests for entry in manifest.files()}
    waiting = {entry.sha256 for manifest in manifests for entry in manifest.captions} - {
        entry.source for manifest in manifests for entry in manifest.data
    }
    files = []
    for name in FOLDERS:
        for path in sorted((folder / name).glob("*")) if name != MANIFEST_FOLDER else ():
            spare = CONTENT_NAME.fullmatch(path.name) and f"{name}/{path.name}" not in named
            if spare and not (name == schema.DATA and _source(path) in waiting):
                files.append(path)
    gone = tuple(number for number in numbers if number not in staying)
    sizes = [path.stat() for path in (*files, *(manifest_path(folder, one) for one in gone))]
    return Waste(gone, tuple(files), sum(one.st_size for one in sizes if one.st_nlink == 1))


def remove_waste(folder: Path, waste: Waste, layer: FileLayer = DISK) -> None:
    """Remove it, oldest manifest first.

    Raises:
        StorageError: If it may not be removed.
    """
    with storage_errors(folder):
        for number in waste.manifests:
            layer.remove(manifest_path(folder, number))
        if waste.manifests:
            layer.sync_folder(folder / MANIFEST_FOLDER)
        for path in waste.files:
            layer.remove(path)
        for parent in sorted({path.parent for path in waste.files}):
            layer.sync_folder(parent)


def pending_sources(folder: Path, manifest: Manifest) -> frozenset[str]:
    """Return hashes of captions files whose embeddings were committed and not yet published."""
    listed = {entry.path for entry in manifest.data}
    waiting = {entry.sha256 for entry in manifest.captions} - {e.source for e in manifest.data}
    found = (
        _source(path)
        for path in sorted((folder / schema.DATA).glob("*.parquet"))
        if f"{schema.DATA}/{path.name}" not in listed and CONTENT_NAME.fullmatch(path.name)
    )
    return frozenset(waiting.intersection(found))


def _source(path: Path) -> str:
    """The captions file that a data file was embedded from, by its own account."""
    try:
        return read_footer(path).metadata.get("lqtse.source", "")
    except DamagedError:
        return ""
