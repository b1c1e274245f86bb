"""What a damaged manifest said, as far as other things still tell.

From the surest to the least sure: the manifest itself with one bit turned back, which its own hash
proves; the names that can still be read in its bytes and in the card, which lists the files of the
newest manifest in order; the last whole manifest; the files themselves by age. Whatever names a
file, the file is believed only if its content has the hash that it is named by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cache_store import schema
from cache_store.errors import DamagedError, DataError, storage_errors
from cache_store.files import content_name, hash_file
from cache_store.idset import IdSet
from cache_store.layout import CARD_NAME
from cache_store.manifest import (
    FileEntry,
    Manifest,
    last_whole,
    manifest_numbers,
    manifest_path,
    parse_manifest,
    read_manifest,
)
from cache_store.mend import undo_flipped_bit
from cache_store.prune import CONTENT_NAME
from cache_store.resume import space_of
from cache_store.shards import read_footer
from cache_store.units import ids_of

_NAMED = re.compile(r"(?:captions|data|rejects)/[0-9a-f]{32}\.parquet")
_ENTRY = re.compile(
    r'"bytes": (\d+),\s+"path": "([^"]+)",\s+"rows": (\d+),\s+'
    r'"sha256": "([0-9a-f]{64})",\s+"source": "([0-9a-f]*)"'
)
_TOMBSTONES = re.compile(r'"tombstones": \[([^\]]*)\]')
_ID = re.compile(r'"([0-9a-f]{32})"')


@dataclass(frozen=True)
class Base:
    """The manifest to repair from.

    Attributes:
        manifest: The newest, or what can be known of it; its files may be damaged.
        highest: The highest number that a manifest has, whole or not; 0 for none.
        how: How it was found, "" if it is simply whole.
        notes: What is uncertain about it.
    """

    manifest: Manifest
    highest: int
    how: str = ""
    notes: tuple[str, ...] = field(default=())


def find_base(folder: Path) -> Base:
    """Return the newest manifest, or what other things tell of it.

    Raises:
        DataError: If there is nothing of a cache.
        VersionMismatchError: If another version of the format wrote the newest manifest.
        StorageError: If the disk fails.
    """
    numbers = manifest_numbers(folder)
    damaged = b""
    if numbers:
        try:
            return Base(read_manifest(folder, numbers[-1]), numbers[-1])
        except DamagedError:
            path = manifest_path(folder, numbers[-1])
            damaged = _read(path)
            mended = undo_flipped_bit(damaged)
            if mended is not None:
                found = parse_manifest(mended, numbers[-1], path)
                how = "one bit had flipped; its own hash proves what it was"
                return Base(found, numbers[-1], how)
    whole = last_whole(folder, numbers[:-1])
    last = read_manifest(folder, whole) if whole is not None else None
    highest = numbers[-1] if numbers else 0
    return _from_receipts(folder, damaged.decode(errors="replace"), last, highest)


def _from_receipts(folder: Path, damaged: str, last: Manifest | None, highest: int) -> Base:
    card = _read(folder / CARD_NAME).decode(errors="replace")
    texts = sorted((damaged, card), key=lambda text: -len(_NAMED.findall(text)))
    named = list(dict.fromkeys(name for text in texts for name in _NAMED.findall(text)))
    told = [text for text in texts if _NAMED.search(text)]
    older = [entry.path for entry in last.files()] if last is not None else []
    names = [*named, *(name for name in older if name not in named)]
    if not told:
        names += [name for name in _by_age(folder) if name not in names]
    if not names:
        raise DataError(
            "no cache", where=folder, hint=f"Make one: lqtse-cache generate {folder} -n 1000"
        )
    known = {
        path: FileEntry(path, sha256, int(size), int(rows), source)
        for size, path, rows, sha256, source in _ENTRY.findall(damaged)
    }
    known |= {entry.path: entry for entry in (last.files() if last is not None else ())}
    notes: list[str] = []
    tombstones = _TOMBSTONES.search(damaged)
    removed = tuple(_ID.findall(tombstones[1])) if tombstones else last.tombstones if last else ()
    if tombstones is None:
        notes.append("captions removed since the last whole manifest may be back")
    base = replace(last or Manifest(), number=highest, tombstones=removed)
    notes.append("the steps since the last whole manifest are not in the provenance")
    how = "what its bytes and the card still name" if told else "the files that are there"
    if last is not None:
        how = f"manifest {last.number}, and {how}"
    found = _with_files(folder, base, names, known, notes)
    return Base(found, highest, how, tuple(notes))


def _with_files(
    folder: Path,
    base: Manifest,
    names: Iterable[str],
    known: Mapping[str, FileEntry],
    notes: list[str],
) -> Manifest:
    """The manifest of those of these files that fit together; damaged ones stay to be mended."""
    kinds: dict[str, list[FileEntry]] = {kind: [] for kind in schema.KINDS}
    seen = IdSet()
    space = dtype = None
    for name in names:
        kind = name.partition("/")[0]
        if kind not in kinds:
            continue
        entry = _whole_entry(folder, name, known.get(name))
        if entry is None:
            if name in known:
                kinds[kind].append(known[name])
            elif (folder / name).exists():
                notes.append(f"{name} is damaged, and nothing tells how many rows it had")
            continue
        if kind == schema.DATA:
            found = space_of(folder, entry)
            if space is not None and found != (space, dtype):
                notes.append(f"{name} is of another space than the first file, and left out")
                continue
            space, dtype = found
        if kind == schema.CAPTIONS or (kind == schema.DATA and not entry.source):
            ids = ids_of(folder, entry)
            if seen.has(ids).any():  # an earlier form of the same captions
                continue
            seen.add(ids)
        kinds[kind].append(entry)
    captions = {entry.sha256 for entry in kinds[schema.CAPTIONS]}
    data = [one for one in kinds[schema.DATA] if not one.source or one.source in captions]
    return replace(
        base,
        captions=tuple(kinds[schema.CAPTIONS]),
        data=tuple(data),
        rejects=tuple(kinds[schema.REJECTS]),
        indexes=(),
        space=space if data else None,
        dtype=dtype if data else None,
    )


def _whole_entry(folder: Path, name: str, known: FileEntry | None) -> FileEntry | None:
    """What a manifest would say of a file; None if it is not there, or not whole."""
    path = folder / name
    try:
        with storage_errors(path):
            digest = hash_file(path)
        if content_name(digest, path.suffix) != path.name:
            return None
        footer = read_footer(path)
    except (OSError, DamagedError):
        return None
    if footer.metadata.get("lqtse.kind") != name.partition("/")[0]:
        return None
    source = known.source if known is not None else footer.metadata.get("lqtse.source", "")
    return FileEntry(name, digest, path.stat().st_size, footer.rows, source)


def _by_age(folder: Path) -> list[str]:
    """Content files of captions, data and rejects, the oldest first."""
    found = [
        (path.stat().st_mtime_ns, f"{kind}/{path.name}")
        for kind in schema.KINDS
        for path in (folder / kind).glob("*.parquet")
        if CONTENT_NAME.fullmatch(path.name)
    ]
    return [name for _, name in sorted(found)]


def _read(path: Path) -> bytes:
    """What a file holds, nothing if there is none; a disk that fails is told."""
    try:
        with storage_errors(path):
            return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""
