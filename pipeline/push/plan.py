"""What would go to a repository, and whether it may: no network here.

A repository that holds a cache is carried on only by the same cache: its newest manifest must be
one of ours, bit by bit, or, where `compact` dropped that one, all that its provenance tells must be
the beginning of ours. So nobody's newer rows, and nobody's other data set, are replaced by a
mistyped name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache_store.card import render_card
from cache_store.errors import DataError, MismatchError, UsageError
from cache_store.files import hash_file
from cache_store.layout import CARD_NAME, FOLDERS, MANIFEST_FOLDER
from cache_store.manifest import FileEntry, Manifest, check_content, manifest_path
from pipeline.progress import Tick

REPORT = "report/index.html"
_FOREIGN_SHOWN = 3
_MANIFEST = re.compile(re.escape(MANIFEST_FOLDER) + r"/(\d{6,})\.json")
# What the hub itself puts into a new repository.
_HUBS_OWN = {".gitattributes", "README.md"}


@dataclass(frozen=True)
class Item:
    """One file to push.

    Attributes:
        path: Where it goes, relative to the repository, with forward slashes.
        size: In bytes.
        sha256: The hash of all its bytes, in hex.
        source: Where it lies, or its content.
    """

    path: str
    size: int
    sha256: str
    source: Path | bytes

    def read(self) -> bytes:
        """Its content, whole: for small files."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


@dataclass(frozen=True)
class RemoteFile:
    """One file of the repository.

    Attributes:
        size: In bytes.
        blob: The hash that git gives it, in hex.
        sha256: The hash of its bytes where the hub stores it as a large file, None elsewhere.
    """

    size: int
    blob: str
    sha256: str | None = None


def plan_push(folder: Path, manifest: Manifest, report: bool = False) -> list[Item]:
    """List what goes, in the order in which it is sent; the card and the manifest come last.

    Args:
        folder: The cache.
        manifest: Its newest manifest.
        report: Take the report along.

    Raises:
        DataError: If a report is wanted that was not made.
    """
    # One file may be named twice, by its content.
    named: dict[str, FileEntry] = {entry.path: entry for entry in manifest.files()}
    items = [
        Item(entry.path, entry.bytes, entry.sha256, folder / entry.path) for entry in named.values()
    ]
    if report:
        path = folder / REPORT
        if not path.is_file():
            raise DataError(
                "the cache has no report", where=path, hint=f"Run lqtse-cache report {folder}"
            )
        items.append(Item(REPORT, path.stat().st_size, hash_file(path), path))
    # From the manifest, since a card on the disk may have been edited, or be of a moment before.
    for path_in_repo, content in (
        (CARD_NAME, render_card(manifest).encode()),
        (_place(manifest.number), manifest.to_bytes()),
    ):
        digest = hashlib.sha256(content).hexdigest()
        items.append(Item(path_in_repo, len(content), digest, content))
    return items


def check_items(folder: Path, manifest: Manifest, tick: Tick) -> None:
    """Read every file that the manifest names, and compare it with its hash.

    Args:
        folder: The cache.
        manifest: Its newest manifest.
        tick: Told of the bytes of each file.

    Raises:
        DamagedError: At the first file that is missing, cut or changed.
    """
    for entry in {entry.path: entry for entry in manifest.files()}.values():
        check_content(folder, entry)
        tick(entry.bytes)


def check_remote(
    remote: Mapping[str, RemoteFile],
    folder: Path,
    manifest: Manifest,
    repo: str,
    fetch: Callable[[int], Manifest],
) -> None:
    """Check that a cache may go to a repository that holds `remote`.

    Args:
        remote: Its files, by path.
        folder: The cache.
        manifest: The cache's newest manifest.
        repo: The repository's name, for messages.
        fetch: Reads the repository's manifest of a number.

    Raises:
        UsageError: If the repository holds something else than a cache.
        MismatchError: If it holds another cache, or a state that is not one of this cache's.
    """
    numbers = [int(found[1]) for path in remote if (found := _MANIFEST.fullmatch(path))]
    foreign = sorted(set(remote) - _HUBS_OWN)
    if not numbers and foreign:
        raise UsageError(
            "the repository holds something else than a cache",
            where=repo,
            found=", ".join(foreign[:_FOREIGN_SHOWN]),
            hint="Name another repository; --replace puts the cache in its place",
        )
    if numbers and not _is_ours(max(numbers), remote, folder, manifest, fetch):
        raise MismatchError(
            "the repository holds another cache, or a state that this one does not come from",
            where=f"{repo}, {_place(max(numbers))}",
            expected="a manifest of this cache",
            hint="Name another repository, or get that state first; --replace puts this cache in "
            "its place",
        )


def _is_ours(
    number: int,
    remote: Mapping[str, RemoteFile],
    folder: Path,
    manifest: Manifest,
    fetch: Callable[[int], Manifest],
) -> bool:
    mine = manifest_path(folder, number)
    if mine.is_file():
        return git_hash(mine.read_bytes()) == remote[_place(number)].blob
    if number > manifest.number:
        return False
    theirs = fetch(number).provenance
    # Each step has its date, so that two caches tell the same only if one comes from the other.
    return bool(theirs) and manifest.provenance[: len(theirs)] == theirs


def unsent(items: Sequence[Item], remote: Mapping[str, RemoteFile]) -> list[Item]:
    """Return the items that the repository does not hold as they are."""
    return [item for item in items if not _is_there(item, remote.get(item.path))]


def outdated(items: Sequence[Item], remote: Collection[str]) -> list[str]:
    """Return the files of earlier pushes that no longer belong to the cache, sorted.

    Of the cache's own folders only: whatever else lies in the repository stays.
    """
    kept = {item.path for item in items}
    return sorted(
        path
        for path in remote
        if path.split("/")[0] in FOLDERS and "/" in path and path not in kept
    )


def git_hash(content: bytes) -> str:
    """Return the hash that git gives to a file of this content, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _is_there(item: Item, remote: RemoteFile | None) -> bool:
    if remote is None or remote.size != item.size:
        return False
    if remote.sha256 is not None:
        return remote.sha256 == item.sha256
    return git_hash(item.read()) == remote.blob


def _place(number: int) -> str:
    """Where the manifest of this number lies in a repository."""
    return manifest_path(Path(), number).as_posix()
