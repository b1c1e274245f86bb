"""The manifest: the numbered list of a cache's files, with which every reading begins.

`manifest/000007.json` is written once, whole and exclusively, and never changed: the newest number
is the cache. It holds each file's hash, size and rows, where the rows came from, and a hash of
itself; and its bytes are the one canonical spelling of its content, so that no flipped bit, not
even in white space, goes unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cache_store.entries import (
    CENTRING,
    FileEntry,
    IndexEntry,
    SpaceRecord,
    check_content,
    check_file,
    named_space,
)
from cache_store.errors import DamagedError, VersionMismatchError, storage_errors
from cache_store.layout import MANIFEST_FOLDER
from cache_store.manifest_check import check_record
from cache_store.schema import FORMAT

__all__ = [
    "CENTRING",
    "FileEntry",
    "IndexEntry",
    "Manifest",
    "SpaceRecord",
    "check_content",
    "check_file",
    "last_whole",
    "manifest_numbers",
    "manifest_path",
    "named_space",
    "newest_manifest",
    "parse_manifest",
    "read_manifest",
]


@dataclass(frozen=True)
class Manifest:
    """What the cache is at one number.

    Attributes:
        number: Counts from 1; 0 is the manifest of a cache that is not published yet.
        created: When, ISO 8601 in UTC.
        space: The embedding space, None while nothing is embedded.
        dtype: "float16" or "float32", None while nothing is embedded.
        captions: Files of captions, in order.
        data: Files of captions with embeddings; their order is the order of rows.
        rejects: Files of refused captions, in order.
        indexes: What was derived from the data.
        tombstones: Ids of removed captions, whose rows lie in the files until they are rewritten.
        config: The settings of the last generation, and `config_hash` their hash.
        template_hash: The hash of the prompt templates.
        provenance: What each step did, oldest first.
        self_hash: The hash of all the rest.
    """

    format: str = FORMAT
    number: int = 0
    tool_version: str = ""
    created: str = ""
    space: SpaceRecord | None = None
    dtype: str | None = None
    captions: tuple[FileEntry, ...] = ()
    data: tuple[FileEntry, ...] = ()
    rejects: tuple[FileEntry, ...] = ()
    indexes: tuple[IndexEntry, ...] = ()
    tombstones: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    template_hash: str = ""
    provenance: tuple[Mapping[str, Any], ...] = ()
    self_hash: str = ""

    @property
    def rows(self) -> int:
        """N: rows of the data files, tombstones included."""
        return sum(entry.rows for entry in self.data)

    @property
    def texts(self) -> tuple[FileEntry, ...]:
        """The files that hold each caption once: captions, and data imported with embeddings."""
        return (*self.captions, *(entry for entry in self.data if not entry.source))

    def data_hash(self) -> str:
        """Return the hash of the data files in their order: what an index is built from."""
        lines = "".join(f"{entry.sha256} {entry.rows}\n" for entry in self.data)
        return hashlib.sha256(lines.encode()).hexdigest()

    def live_hash(self) -> str:
        """Return the hash of the data without what was removed: what a mean is of."""
        lines = "".join(f"{one}\n" for one in sorted(self.tombstones))
        return hashlib.sha256(f"{self.data_hash()}\n{lines}".encode()).hexdigest()

    def index(self, kind: str) -> IndexEntry | None:
        """Return the index of this kind, fresh or stale, or None."""
        return next((entry for entry in self.indexes if entry.kind == kind), None)

    def is_fresh(self, index: IndexEntry) -> bool:
        """Whether an index was built from the data that this manifest names."""
        of = self.live_hash() if index.kind == CENTRING else self.data_hash()
        return index.built_from == of

    def files(self) -> tuple[FileEntry, ...]:
        """Return every file that this manifest names."""
        of_indexes = (entry for index in self.indexes for entry in index.files)
        return (*self.captions, *self.data, *self.rejects, *of_indexes)

    def sealed(self) -> Manifest:
        """Return a copy whose `self_hash` is right."""
        return replace(self, self_hash=_hash(asdict(self)))

    def to_bytes(self) -> bytes:
        """Return the canonical spelling: what lies on the disk."""
        return _spell(asdict(self))


def manifest_path(folder: Path, number: int) -> Path:
    """Return where the manifest of this number lies."""
    return folder / MANIFEST_FOLDER / f"{number:06d}.json"


def manifest_numbers(folder: Path) -> list[int]:
    """Return the numbers of the manifests that are there, ascending."""
    names = (path.stem for path in (folder / MANIFEST_FOLDER).glob("[0-9]*.json"))
    return sorted(int(name) for name in names if name.isdecimal())


def newest_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of the highest number; None if there is none.

    Raises:
        DamagedError: If it is damaged: the last whole one is named, and not used in silence.
        VersionMismatchError: If another version of the format wrote it.
    """
    numbers = manifest_numbers(folder)
    if not numbers:
        return None
    try:
        return read_manifest(folder, numbers[-1])
    except DamagedError as error:
        whole = last_whole(folder, numbers[:-1])
        hint = (
            f"The last whole one is {manifest_path(folder, whole)}. "
            if whole is not None
            else "No other manifest is whole. "
        )
        raise DamagedError(
            error.what,
            where=error.where,
            found=error.found,
            hint=f"{hint}See what can be mended: lqtse-cache repair {folder} --dry-run",
        ) from error


def read_manifest(folder: Path, number: int) -> Manifest:
    """Read the manifest of this number.

    Raises:
        DamagedError: If it is missing or any bit of it is not as it was written.
        VersionMismatchError: If another version of the format wrote it.
    """
    path = manifest_path(folder, number)
    try:
        with storage_errors(path):
            if path.exists() and not path.is_file():  # a pipe would block its reader for good
                raise DamagedError("a manifest is no file", where=path)
            data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError("a manifest is missing", where=path) from error
    return parse_manifest(data, number, path)


def parse_manifest(data: bytes, number: int, path: Path) -> Manifest:
    """Return the manifest that is spelled in `data`.

    Args:
        data: All bytes of the file.
        number: Its number.
        path: Where they come from, for the message.

    Raises:
        DamagedError: If any bit is not as it was written.
        VersionMismatchError: If another version of the format wrote it.
    """
    try:
        record = json.loads(data)
        if record["self_hash"] != _hash(record) or data != _spell(record):
            raise ValueError("its content does not match its own hash")
        if record["format"] != FORMAT:
            raise VersionMismatchError(
                "the cache has another format",
                where=path,
                expected=f"format {FORMAT}",
                found=f"format {record['format']}, written by lqtse {record.get('tool_version')}",
                hint="Install the version of lqtse that wrote it: pip install -U lqtse",
            )
        check_record(record)
        manifest = _parse(record)
        if manifest.number != number:
            raise ValueError(f"it is number {manifest.number}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError("a manifest is damaged", where=path, found=str(error)) from error
    return manifest


def last_whole(folder: Path, numbers: list[int]) -> int | None:
    """Return the last of these numbers whose manifest can be used, None if none can."""
    for number in reversed(numbers):
        try:
            read_manifest(folder, number)
        except (DamagedError, VersionMismatchError):
            continue
        return number
    return None


def _spell(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _hash(record: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in record.items() if key != "self_hash"}
    return hashlib.sha256(_spell(rest)).hexdigest()


def _parse(record: dict[str, Any]) -> Manifest:
    files = {
        name: tuple(FileEntry(**entry) for entry in record[name])
        for name in ("captions", "data", "rejects")
    }
    indexes = tuple(
        IndexEntry(**{**entry, "files": tuple(FileEntry(**file) for file in entry["files"])})
        for entry in record["indexes"]
    )
    rest: dict[str, Any] = {
        **files,
        "indexes": indexes,
        "space": SpaceRecord(**record["space"]) if record["space"] is not None else None,
        "tombstones": tuple(record["tombstones"]),
        "provenance": tuple(record["provenance"]),
    }
    return Manifest(**{**record, **rest})
