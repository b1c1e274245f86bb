"""Verify a cache, every byte of it.

Every file that any manifest names is hashed; the newest manifest's files are read as well, and
their rows checked for what they promise: normal form, ids, uniqueness, finite unit vectors, one
space, and an index that holds the same vectors as the data. Nothing is changed, and one fault does
not hide the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cache_store import checks, schema
from cache_store.card import render_card
from cache_store.card_seal import is_whole
from cache_store.errors import DataError, LqtseError, StorageError, storage_errors
from cache_store.files import TMP_PREFIX
from cache_store.layout import CARD_NAME, FOLDERS, MANIFEST_FOLDER
from cache_store.manifest import (
    FileEntry,
    Manifest,
    check_content,
    manifest_numbers,
    manifest_path,
    read_manifest,
)
from cache_store.opening import check_footer
from cache_store.shards import iter_batches, read_footer, read_table
from cache_store.verify_index import compare_index

_BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: The file, relative to the cache.
        what: What is wrong with it.
        hint: What to do.
    """

    path: str
    what: str
    hint: str = ""


@dataclass
class VerifyReport:
    """What was looked at and what was found.

    Attributes:
        files: How many files were read.
        bytes: How many bytes.
        rows: How many embedded rows were checked.
        faults: What is wrong; empty for a whole cache.
        notes: What is not wrong but worth knowing: files that no manifest names, a stale index.
        damaged: Paths of files that have a fault.
        unread: Why files could not be read; their faults are among `faults`.
    """

    files: int = 0
    bytes: int = 0
    rows: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    unread: list[StorageError] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify_cache(
    path: str | Path,
    progress: Callable[[int], None] = lambda _: None,
    newest: Manifest | None = None,
) -> VerifyReport:
    """Read every byte of a cache and report what is wrong.

    Args:
        path: The cache.
        progress: Called with the number of bytes of each file that was read.
        newest: Whose rows to check, for `repair`: what the newest manifest said if it is damaged.

    Raises:
        DataError: If there is no cache at `path`.
    """
    folder = Path(path)
    numbers = manifest_numbers(folder)
    if not numbers and newest is None:
        raise DataError(
            "no cache", where=folder, hint=f"Make one: lqtse-cache generate {folder} -n 1000"
        )
    return _Verifier(folder, progress).run(numbers, newest)


class _Verifier:
    def __init__(self, folder: Path, progress: Callable[[int], None]) -> None:
        self.folder = folder
        self.progress = progress
        self.report = VerifyReport()
        self.damaged = self.report.damaged
        self.hashed: set[str] = set()

    def run(self, numbers: list[int], newest: Manifest | None) -> VerifyReport:
        manifests = [self.read(number) for number in reversed(numbers)]
        current = newest or manifests[0]
        named = [entry for one in (newest, *manifests) if one for entry in one.files()]
        for entry in named:
            self.hash_once(entry)
        if current is not None:
            self.check_card(current)
            self.check_rows(current)
            self.check_indexes(current)
        self.note_strangers({entry.path for entry in named})
        return self.report

    def read(self, number: int) -> Manifest | None:
        """Read a manifest; None, and a fault, if it is damaged."""
        place = f"{MANIFEST_FOLDER}/{manifest_path(self.folder, number).name}"
        with self.noting(place):
            if (self.folder / place).is_file():
                self.count(place)
            return read_manifest(self.folder, number)
        return None  # type: ignore[unreachable]  # `noting` swallows

    @contextmanager
    def noting(self, place: str) -> Iterator[None]:
        """Record an error as a fault of the file at `place`, and go on."""
        try:
            yield
        except LqtseError as error:
            self.damaged.add(place)
            if isinstance(error, StorageError):
                self.report.unread.append(error)
            details = [
                f"{name} {value}"
                for name, value in (("expected", error.expected), ("found", error.found))
                if value is not None
            ]
            at = error.where if error.where and not Path(error.where).is_absolute() else None
            where = f", {at}" if at and place not in at else ""
            text = error.what + where + (f" ({', '.join(details)})" if details else "")
            self.report.faults.append(Fault(place, " ".join(text.split()), error.hint or ""))

    def count(self, place: str) -> None:
        size = (self.folder / place).stat().st_size
        self.report.files += 1
        self.report.bytes += size
        self.progress(size)

    def hash_once(self, entry: FileEntry) -> None:
        """Hash a file, once for all manifests that name it."""
        if entry.path in self.hashed:
            return
        self.hashed.add(entry.path)
        with self.noting(entry.path):
            check_content(self.folder, entry)
        if (self.folder / entry.path).is_file():
            self.count(entry.path)

    def check_card(self, manifest: Manifest) -> None:
        """Check the card, which other programs read: lost or old is no fault, damaged is."""
        path, mend = self.folder / CARD_NAME, "the next command that writes makes it anew"
        if not path.is_file():
            self.report.notes.append(f"{CARD_NAME}: missing; {mend}")
            return
        with storage_errors(path):
            card = path.read_bytes()
        if card == render_card(manifest).encode():
            return
        whole = is_whole(card)
        if whole is False:
            what = "the card does not match the hash at its end"
            self.report.faults.append(Fault(CARD_NAME, what, f"Move it away: {mend}"))
        else:
            how = "of another manifest or version" if whole else "not as this version writes it"
            self.report.notes.append(f"{CARD_NAME}: {how}; {mend}")

    def check_rows(self, manifest: Manifest) -> None:
        """Read the newest manifest's tables and check what their rows promise."""
        ids: dict[str, np.ndarray[Any, Any]] = {}
        for kind, entries in (
            (schema.CAPTIONS, manifest.captions),
            (schema.DATA, manifest.data),
            (schema.REJECTS, manifest.rejects),
        ):
            for entry in entries:
                if entry.path in self.damaged:
                    continue
                with self.noting(entry.path):
                    check_footer(manifest, kind, entry, self.folder / entry.path)
                    ids[entry.path] = self.check_table(kind, entry)
        # What was embedded from a captions file has that file's ids; imported data has its own.
        for name, entries in ((schema.CAPTIONS, manifest.texts), (schema.DATA, manifest.data)):
            self.check_unique(name, [ids[entry.path] for entry in entries if entry.path in ids])
        self.check_removed(manifest, ids)
        known = {entry.sha256 for entry in manifest.captions}
        for entry in manifest.data:
            if entry.source and entry.source not in known:
                self.report.notes.append(f"{entry.path}: its captions file is no longer listed")

    def check_table(self, kind: str, entry: FileEntry) -> np.ndarray[Any, Any]:
        """Check one file's rows and return their ids."""
        path = self.folder / entry.path
        if kind == schema.REJECTS:
            read_table(path)
            return np.empty(0, dtype="S32")
        names = [name for name in read_footer(path).schema.names if name != "embedding"]
        texts = read_table(path, names)
        checks.check_captions(texts)
        if kind == schema.DATA:
            start = 0
            for batch in iter_batches(path, ["embedding"]):
                checks.check_embeddings(batch.column(0), start)
                start += batch.num_rows
            self.report.rows += start
        return np.array(texts.column("id").to_pylist(), dtype="S32")

    def check_unique(self, kind: str, ids: list[np.ndarray[Any, Any]]) -> None:
        """Check that no caption is in two files: within one file that was seen before."""
        if len(ids) < 2:
            return
        ordered = np.sort(np.concatenate(ids))
        twice = int((ordered[1:] == ordered[:-1]).sum())
        if twice:
            self.report.faults.append(
                Fault(kind, f"{twice} captions are in more than one file", "Write a new cache")
            )

    def check_removed(self, manifest: Manifest, ids: dict[str, np.ndarray[Any, Any]]) -> None:
        """Note removed captions that are in no file: harmless, but removed in vain."""
        texts = [ids[entry.path] for entry in manifest.texts if entry.path in ids]
        if not manifest.tombstones or len(texts) < len(manifest.texts):
            return
        gone = np.array(manifest.tombstones, dtype="S32")
        strange = int((~np.isin(gone, np.concatenate(texts) if texts else [])).sum())
        if strange:
            self.report.notes.append(f"{strange} removed captions are in no file")

    def check_indexes(self, manifest: Manifest) -> None:
        """Check that each index that may be used holds the vectors of the data, bit for bit."""
        whole = not any(entry.path in self.damaged for entry in manifest.data)
        for index in manifest.indexes:
            for entry in index.files:
                if not manifest.is_fresh(index):
                    note = f"{entry.path}: the {index.kind} index is older than the data"
                    self.report.notes.append(f"{note}; it is not used until built anew")
                elif whole and entry.path not in self.damaged:
                    with self.noting(entry.path):
                        self.report.notes += compare_index(self.folder, manifest, index, entry)

    def note_strangers(self, named: set[str]) -> None:
        """List files that no manifest names: harmless, and gone after a `compact`."""
        for name in FOLDERS:
            for path in sorted((self.folder / name).glob("*")):
                place = f"{name}/{path.name}"
                if path.name.startswith(TMP_PREFIX):
                    self.report.notes.append(f"{place}: left by a writer that died")
                elif name != MANIFEST_FOLDER and place not in named:
                    self.report.notes.append(f"{place}: no manifest names it")
