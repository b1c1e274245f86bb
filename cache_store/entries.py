"""What a manifest says of one file, one index and one space; and whether a file is what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import Any

from cache_store.errors import DamagedError, storage_errors
from cache_store.files import hash_file

_NAMED = "named:"
CENTRING = "centring"  # the kind of an entry that holds means, and is no index to search in
_HINT = "lqtse-cache verify shows all that is damaged, lqtse-cache repair mends what it can"


@dataclass(frozen=True)
class SpaceRecord:
    """An embedding space: which model, told by the hash of its weights and preprocessing.

    Attributes:
        name: What to call it in messages.
        fingerprint: Equal if and only if embeddings may meet.
        dim: D, the embedding size.
    """

    name: str
    fingerprint: str
    dim: int


def named_space(name: str, dim: int) -> SpaceRecord:
    """Return the record of a space known by name only: embeddings that were made elsewhere."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return SpaceRecord(name, _NAMED + digest[:32], dim)


@dataclass(frozen=True)
class FileEntry:
    """One file of the cache.

    Attributes:
        path: Relative to the cache, with forward slashes.
        sha256: Of all its bytes, in hex.
        bytes: Its size.
        rows: How many rows it holds.
        source: For data: the SHA-256 of the captions file it was embedded from, "" if imported.
    """

    path: str
    sha256: str
    bytes: int
    rows: int
    source: str = ""


@dataclass(frozen=True)
class IndexEntry:
    """One index, derived from the data.

    Attributes:
        kind: "exact" (the matrix as .npy), "flat", "hnsw", "ivf" or "ivfpq" (FAISS), or "centring"
            (the means of both modalities).
        files: Its files.
        built_from: `Manifest.data_hash()` of the data it was built from; of "centring",
            `Manifest.live_hash()`.
        params: What it was built with, and what was measured (recall).
    """

    kind: str
    files: tuple[FileEntry, ...]
    built_from: str
    params: Mapping[str, Any] = field(default_factory=dict)


def check_file(folder: Path, entry: FileEntry) -> Path:
    """Return the path of a file that is there with the right size; its bytes are not read.

    Raises:
        DamagedError: If it is missing or was cut.
    """
    path = folder / entry.path
    try:
        with storage_errors(path):
            status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError("a file of the cache is missing", where=path, hint=_HINT) from error
    if not S_ISREG(status.st_mode):  # a pipe would block its reader for good
        raise DamagedError("a file of the cache is no file", where=path, hint=_HINT)
    size = status.st_size
    if size != entry.bytes:
        raise DamagedError(
            "a file of the cache has the wrong size",
            where=path,
            expected=f"{entry.bytes} bytes",
            found=f"{size} bytes",
            hint=_HINT,
        )
    return path


def check_content(folder: Path, entry: FileEntry) -> Path:
    """Return the path of a file whose bytes are the ones that were committed: all are read.

    Raises:
        DamagedError: If it is missing or any bit of it changed.
    """
    path = check_file(folder, entry)
    with storage_errors(path):
        digest = hash_file(path)
    if digest != entry.sha256:
        raise DamagedError(
            "a file of the cache does not match its hash",
            where=path,
            expected=entry.sha256[:16],
            found=digest[:16],
            hint=_HINT,
        )
    return path
