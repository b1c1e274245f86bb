"""Make a damaged cache whole again: rebuild what can be rebuilt, move aside what cannot.

New files are committed, then a manifest names them, then what is damaged is moved to `quarantine/`,
each file with a note, and never deleted; indexes are built last. Killed anywhere, the same command
goes on; on a whole cache it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cache_store.errors import DamagedError, MissingDependencyError, VersionMismatchError
from cache_store.files import DISK, FileLayer
from cache_store.holding import hold
from cache_store.layout import CARD_NAME, MANIFEST_FOLDER, check_folder
from cache_store.manifest import (
    FileEntry,
    check_content,
    manifest_numbers,
    manifest_path,
    read_manifest,
)
from cache_store.quarantine import quarantine
from cache_store.repair_plan import Mend, RepairPlan, is_whole, plan_repair
from cache_store.units import precision_of
from cache_store.verify import Fault
from cache_store.writer import CacheWriter


@dataclass
class RepairReport:
    """What was wrong and what was done, or would be.

    Attributes:
        needed: Whether there was anything to do.
        number: Of the newest manifest afterwards; in a dry run, as it is.
        manifest: How the damaged newest manifest was found again, "" if it was whole.
        faults: What `verify` found.
        mended: What became of each damaged file of rows.
        lost: Captions that are lost.
        lost_rejects: Refused captions that are lost.
        waiting: Captions that have to be embedded again.
        space: The name of the space to embed them with, "" if nothing is.
        indexes: Kinds of index that were built anew.
        quarantined: Files that were moved aside, by their old names, and why.
        unsolved: What is still wrong.
        notes: What is uncertain.
        dry: Whether nothing was changed.
    """

    needed: bool
    number: int
    manifest: str = ""
    faults: list[Fault] = field(default_factory=list)
    mended: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    lost_rejects: int = 0
    waiting: int = 0
    space: str = ""
    indexes: list[str] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)
    unsolved: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dry: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing was lost and nothing is wrong any more."""
        return not (self.lost or self.lost_rejects or self.unsolved or (self.dry and self.needed))


def repair_cache(
    cache: str | Path,
    *,
    dry: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    layer: FileLayer = DISK,
) -> RepairReport:
    """Make a damaged cache whole again, and say what that cost.

    Args:
        cache: The cache's folder.
        dry: Only say what would be done.
        progress: Called with the bytes of each file that was read.
        layer: The operations on the disk; another one only in tests.

    Raises:
        DataError: If there is nothing of a cache.
        VersionMismatchError: If another version of the format wrote it.
        LeaseHeldError: If another process writes to it.
        StorageError: If it cannot be written, or a file of it cannot be read: that it is damaged
            is not known then, and nothing is done.
    """
    folder = Path(cache)
    check_folder(folder, create=False)
    if dry:
        return _report(plan_repair(folder, progress), dry=True)
    with hold(folder, layer=layer) as lease:
        plan = plan_repair(folder, progress)
        report = _report(plan, dry=False)
        base = replace(plan.base.manifest, number=plan.base.highest)
        writer = CacheWriter(folder, lease, base, layer)
        if plan.base.how or plan.rewrites or plan.indexes:
            _publish(writer, plan, report)
        else:
            writer.write_card()
        _move_aside(writer, plan, report)
        _build(writer, plan, report)
        report.number = writer.current.number
        return report


def _report(plan: RepairPlan, dry: bool) -> RepairReport:
    space = plan.base.manifest.space
    mended = {
        entry.path: mend.how
        for mend in plan.mends
        for entry in mend.unit.files
        if entry.path in plan.found.damaged
    }
    for entry, bad, table in plan.rejects:
        if bad:
            kept = table.num_rows if table else 0
            mended[entry.path] = f"{kept:,} of {entry.rows:,} rows are whole and kept"
    if plan.card:
        mended[CARD_NAME] = "written anew from the manifest"
    return RepairReport(
        needed=plan.needed,
        number=plan.base.highest,
        manifest=plan.base.how,
        faults=plan.found.faults,
        mended=mended,
        lost=plan.lost,
        lost_rejects=plan.lost_rejects,
        waiting=plan.waiting,
        space=space.name if space and plan.waiting else "",
        indexes=plan.indexes if dry else [],
        quarantined=plan.aside if dry else {},
        unsolved=plan.unsolved,
        notes=list(plan.base.notes),
        dry=dry,
    )


def _publish(writer: CacheWriter, plan: RepairPlan, report: RepairReport) -> None:
    """Commit what is written anew, and publish a manifest of whole files only."""
    old = plan.base.manifest
    order = {entry.path: place for place, entry in enumerate(old.captions)}
    captions: list[tuple[int, FileEntry]] = []
    data: list[FileEntry] = []
    for mend in plan.mends:
        texts, vectors = _write(writer, mend)
        if texts is not None and mend.unit.captions is not None:
            captions.append((order[mend.unit.captions.path], texts))
        if vectors is not None:
            data.append(vectors)
    rejects = []
    for entry, bad, table in plan.rejects:
        if table is not None:
            rejects.append(writer.write_rejects(table))
        elif not bad:
            rejects.append(entry)
    listed = [entry for _, entry in sorted(captions, key=lambda pair: pair[0])]
    indexes = [entry for entry in old.indexes if entry.kind not in plan.indexes]
    now = (tuple(listed), tuple(data), tuple(rejects), tuple(indexes))
    if now == (old.captions, old.data, old.rejects, old.indexes) and not plan.base.how:
        writer.write_card()  # every file came out as it was, under its old name
        return
    lost: dict[str, Any] = {
        "captions_lost": report.lost,
        "rejects_lost": report.lost_rejects,
        "to_embed_again": report.waiting,
    }
    step = {"step": "repair", "files": len(report.mended), **lost}
    if plan.indexes:  # for the next run, should this one die before they are built
        step["indexes"] = list(plan.indexes)
    if report.manifest:
        step["manifest"] = report.manifest
    writer.publish(captions=listed, data=data, rejects=rejects, indexes=indexes, step=step)


def _write(writer: CacheWriter, mend: Mend) -> tuple[FileEntry | None, FileEntry | None]:
    """Return the files of one unit afterwards."""
    captions = mend.unit.captions if mend.keeps_captions else None
    data = mend.unit.data if mend.keeps_data else None
    if mend.captions is not None:
        captions = writer.write_captions(mend.captions)
    if mend.data is not None and writer.current.space is not None:
        source = captions.sha256 if captions is not None else ""
        precision = ""
        if mend.unit.data is not None:
            with suppress(DamagedError):  # what is damaged may not say it any more
                precision = precision_of(writer.path, [mend.unit.data])
        data = writer.write_data(mend.data, writer.current.space, source, precision)
    elif data is not None and captions is not None:
        # Another version of the Parquet library spells the same rows in other bytes.
        data = replace(data, source=captions.sha256)
    return captions, data


def _move_aside(writer: CacheWriter, plan: RepairPlan, report: RepairReport) -> None:
    """Quarantine what was damaged and was not mended under its own name."""
    folder, whole = writer.path, dict[str, bool]()
    newest = f"{MANIFEST_FOLDER}/{manifest_path(folder, writer.current.number).name}"
    for name, why in sorted(plan.aside.items(), key=lambda pair: pair[0].startswith("manifest")):
        if not (folder / name).exists() or name == newest or _is_whole(folder, name, whole):
            continue
        report.quarantined[name] = f"{why}; now {quarantine(folder, name, why, writer.layer)}"


def _is_whole(folder: Path, name: str, known: dict[str, bool]) -> bool:
    """Whether a file is whole by now; for a manifest, it and all files that it names."""
    if not name.startswith(f"{MANIFEST_FOLDER}/"):
        return is_whole(folder / name)
    numbers = {manifest_path(folder, one).name: one for one in manifest_numbers(folder)}
    number = numbers.get(Path(name).name)
    if number is None:
        return False
    try:
        files = read_manifest(folder, number).files()
    except (DamagedError, VersionMismatchError):
        return False
    for entry in files:
        if entry.path not in known:
            try:
                check_content(folder, entry)
                known[entry.path] = True
            except DamagedError:
                known[entry.path] = False
        if not known[entry.path]:
            return False
    return True


def _build(writer: CacheWriter, plan: RepairPlan, report: RepairReport) -> None:
    """Build anew the indexes that were damaged, or are of other data by now."""
    current = writer.current
    stale = [entry.kind for entry in current.indexes if not current.is_fresh(entry)]
    was_fresh = {i.kind for i in plan.base.manifest.indexes if plan.base.manifest.is_fresh(i)}
    kinds = [*plan.indexes, *(kind for kind in stale if kind in was_fresh)]
    if not kinds or not current.data:
        return
    from cache_store.index.rebuild import rebuild_index

    for kind in dict.fromkeys(kinds):
        try:
            note = rebuild_index(writer, kind, plan.base.manifest.index(kind))
            report.indexes.append(kind)
            report.notes += [note] if note else []
        except MissingDependencyError as error:
            report.notes.append(f"the {kind} index was not built: {error.what}")
