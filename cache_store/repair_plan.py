"""What can be done about a cache's damage: read, decided, and not yet done.

For every damaged file the surest way: a captions file is written from the data file that holds the
same rows, and the other way round only where every embedding is still whole; else data is dropped,
to be embedded again from its captions; else the rows that are still whole are kept; indexes and the
card are built anew. What is lost is counted by rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from cache_store import schema
from cache_store.errors import DamagedError, VersionMismatchError, storage_errors
from cache_store.files import content_name, hash_file
from cache_store.layout import CARD_NAME, FOLDERS, MANIFEST_FOLDER
from cache_store.manifest import (
    FileEntry,
    Manifest,
    manifest_numbers,
    manifest_path,
    read_manifest,
)
from cache_store.prune import CONTENT_NAME
from cache_store.receipts import Base, find_base
from cache_store.salvage import salvage_rows
from cache_store.units import Unit, units_of
from cache_store.verify import VerifyReport, verify_cache


@dataclass(frozen=True)
class Mend:
    """What becomes of the files of the same rows.

    Attributes:
        unit: What the manifest names.
        captions: Rows to write as its captions, None to keep the file, or where there is none.
        data: Rows to write as its data; the same.
        keeps_captions: Whether it has a captions file afterwards.
        keeps_data: Whether it has a data file afterwards.
        how: In words, "" if nothing is done.
        lost: Captions that are lost.
        waiting: Captions that have to be embedded again.
    """

    unit: Unit
    captions: pa.Table | None = None
    data: pa.Table | None = None
    keeps_captions: bool = True
    keeps_data: bool = True
    how: str = ""
    lost: int = 0
    waiting: int = 0


@dataclass
class RepairPlan:
    """What is wrong and what is to be done.

    Attributes:
        base: The manifest to repair from.
        found: What `verify` says of it.
        mends: Captions and data, in the manifest's order.
        rejects: Files of refused captions and, for a damaged one, its good rows (maybe none).
        indexes: Kinds of index to build anew.
        aside: Files to move aside, and why.
        unsolved: Faults that nothing here mends.
    """

    base: Base
    found: VerifyReport
    mends: list[Mend] = field(default_factory=list)
    rejects: list[tuple[FileEntry, bool, pa.Table | None]] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)
    unsolved: list[str] = field(default_factory=list)

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.base.how or self.aside or self.indexes or self.rewrites or self.card)

    @property
    def card(self) -> bool:
        """Whether the card is damaged: every repair writes it anew."""
        return any(fault.path == CARD_NAME for fault in self.found.faults)

    @property
    def rewrites(self) -> bool:
        """Whether files are written or dropped."""
        damaged = any(bad for _, bad, _ in self.rejects)
        return damaged or any(mend.how for mend in self.mends)

    @property
    def lost(self) -> int:
        """Captions that are lost."""
        return sum(mend.lost for mend in self.mends)

    @property
    def lost_rejects(self) -> int:
        """Refused captions that are lost."""
        bad = [(entry, table) for entry, damaged, table in self.rejects if damaged]
        return sum(entry.rows - (table.num_rows if table else 0) for entry, table in bad)

    @property
    def waiting(self) -> int:
        """Captions that have to be embedded again."""
        return sum(mend.waiting for mend in self.mends)


def plan_repair(folder: Path, progress: Callable[[int], None] = lambda _: None) -> RepairPlan:
    """Read every byte of a cache and decide what to do about its damage.

    Args:
        folder: The cache.
        progress: Called with the bytes of each file that was read.

    Raises:
        DataError: If there is nothing of a cache.
        VersionMismatchError: If another version of the format wrote it.
        StorageError: If a file may not be read, or the disk fails: it may be whole.
    """
    base = find_base(folder)
    found = verify_cache(folder, progress, base.manifest)
    if found.unread:
        raise found.unread[0]
    plan = RepairPlan(base, found)
    manifest = base.manifest
    for unit in units_of(manifest):
        plan.mends.append(_mend(folder, manifest, unit, found.damaged))
    for entry in manifest.rejects:
        bad = entry.path in found.damaged
        table = salvage_rows(folder / entry.path, schema.REJECTS) if bad else None
        plan.rejects.append((entry, bad, table))
    plan.indexes = [
        index.kind
        for index in manifest.indexes
        if any(entry.path in found.damaged for entry in index.files)
    ]
    plan.indexes += _left(manifest)
    if base.how and not manifest.indexes:
        plan.indexes = _kinds_before(folder)
    _find_aside(folder, plan)
    files = {entry.path for entry in manifest.files()}
    plan.unsolved = [
        f"{fault.path}: {fault.what}"
        for fault in found.faults
        if fault.path not in files and "/" not in fault.path and fault.path != CARD_NAME
    ]
    return plan


def _left(manifest: Manifest) -> list[str]:
    """The kinds of index that an earlier repair was to build, and died before."""
    for step in reversed(manifest.provenance):
        if step.get("step") == "repair":
            there = {index.kind for index in manifest.indexes}
            return [kind for kind in step.get("indexes", ()) if kind not in there]
        if step.get("step") not in ("index", "centre"):
            break
    return []


def _mend(folder: Path, manifest: Manifest, unit: Unit, damaged: set[str]) -> Mend:
    bad_captions = unit.captions is not None and unit.captions.path in damaged
    bad_data = unit.data is not None and unit.data.path in damaged
    if not bad_captions and not bad_data:
        return Mend(unit)
    rows = unit.rows
    if unit.captions is not None and unit.data is not None:
        return _mend_pair(folder, manifest, unit, bad_captions, bad_data)
    if unit.captions is not None:
        texts = salvage_rows(folder / unit.captions.path, schema.CAPTIONS)
        kept = texts.num_rows if texts else 0
        how = f"{kept:,} of {rows:,} rows are whole and kept"
        return Mend(unit, texts, None, kept > 0, False, how, rows - kept)
    vectors = _salvage_data(folder, manifest, unit)
    kept = vectors.num_rows if vectors else 0
    how = f"{kept:,} of {rows:,} rows are whole and kept"
    return Mend(unit, None, vectors, False, kept > 0, how, rows - kept)


def _mend_pair(
    folder: Path, manifest: Manifest, unit: Unit, bad_captions: bool, bad_data: bool
) -> Mend:
    rows = unit.rows
    vectors = _salvage_data(folder, manifest, unit)
    held = vectors.num_rows if vectors else 0
    if vectors is not None and held == rows:
        how = "written anew from the data" if bad_captions else "every row is whole and kept"
        captions = vectors.drop_columns(["embedding"]) if bad_captions else None
        return Mend(unit, captions, vectors if bad_data else None, how=how)
    if not bad_captions:
        how = f"dropped; its {rows:,} captions are whole and have to be embedded again"
        return Mend(unit, keeps_data=False, how=how, waiting=rows)
    assert unit.captions is not None
    texts = salvage_rows(folder / unit.captions.path, schema.CAPTIONS)
    kept = texts.num_rows if texts else 0
    if vectors is not None and held >= kept:
        how = f"{held:,} of {rows:,} rows are whole with their embeddings and kept"
        return Mend(unit, vectors.drop_columns(["embedding"]), vectors, how=how, lost=rows - held)
    how = f"{kept:,} of {rows:,} captions are whole and have to be embedded again"
    return Mend(unit, texts, None, kept > 0, False, how, rows - kept, kept)


def _salvage_data(folder: Path, manifest: Manifest, unit: Unit) -> pa.Table | None:
    space, dtype = manifest.space, manifest.dtype
    if unit.data is None or space is None or dtype is None:
        return None
    return salvage_rows(folder / unit.data.path, schema.DATA, (space.dim, dtype))


def _kinds_before(folder: Path) -> list[str]:
    """The kinds of index that the last whole manifest had; the matrix if any was there."""
    for number in reversed(manifest_numbers(folder)):
        try:
            found = [entry.kind for entry in read_manifest(folder, number).indexes]
        except (DamagedError, VersionMismatchError):
            continue
        if found:
            return found
    return ["exact"] if any((folder / "index").glob("*.npy")) else []


def _find_aside(folder: Path, plan: RepairPlan) -> None:
    """Note which files have to go: damaged ones, and manifests that cannot be used without them."""
    for number in manifest_numbers(folder):
        place = f"{MANIFEST_FOLDER}/{manifest_path(folder, number).name}"
        if place in plan.found.damaged:
            plan.aside[place] = "a damaged manifest"
            continue
        files = read_manifest(folder, number).files()
        bad = [entry.path for entry in files if entry.path in plan.found.damaged]
        if bad:
            plan.aside[place] = f"it names {bad[0]}, which is damaged or missing"
    for name in FOLDERS:
        for path in sorted((folder / name).glob("*")) if name != MANIFEST_FOLDER else ():
            if CONTENT_NAME.fullmatch(path.name) and not is_whole(path):
                plan.aside[f"{name}/{path.name}"] = "its content does not match its hash"


def is_whole(path: Path) -> bool:
    """Whether a content file has the content that it is named by."""
    with storage_errors(path):
        return content_name(hash_file(path), path.suffix) == path.name
