"""Rewrite a cache without what it does not need: removed rows, small files, old manifests.

Rows that stay keep their order and their embeddings bit for bit. New files are committed first,
then a manifest names them, then the indexes that the cache had are built anew, and only then go the
old manifests and what none names: killed anywhere, the cache is as before or as after, and the same
command goes on. Memory is one new file, whatever the rows.

A reader that has an older manifest open may lose files under its feet: compact when none is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from cache_store.compact_plan import SHARD_ROWS, Group, plan_groups, plan_rejects
from cache_store.errors import DataError, MissingDependencyError, UsageError
from cache_store.files import DISK, FileLayer
from cache_store.manifest import FileEntry, Manifest, check_content, newest_manifest
from cache_store.prune import find_waste, pending_sources, remove_waste
from cache_store.schema import conform, rejects_schema
from cache_store.shards import read_table
from cache_store.units import Unit, ids_of, is_among, precision_of, without
from cache_store.writer import CacheWriter, open_writer


@dataclass
class CompactReport:
    """What was done, or would be.

    Attributes:
        rows: Captions that stay.
        removed: Captions that go.
        files_before: Files of captions, data and rejects before.
        files_after: The same afterwards.
        rewritten: How many of the latter are new.
        manifests: Old manifests that go.
        files: Files that go.
        bytes: Bytes freed. In a dry run: of what is not needed as it is; what rewriting frees is
            known when it is done.
        indexes: Kinds of index that were built anew.
        notes: What else is worth knowing.
        dry: Whether nothing was changed.
    """

    rows: int
    removed: int
    files_before: int
    files_after: int
    rewritten: int
    manifests: int = 0
    files: int = 0
    bytes: int = 0
    indexes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dry: bool = False


def compact_cache(
    cache: str | Path,
    *,
    keep: int = 1,
    shard_rows: int = SHARD_ROWS,
    index: bool = True,
    dry: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    layer: FileLayer = DISK,
) -> CompactReport:
    """Rewrite a cache without removed rows, small files and old manifests.

    Args:
        cache: The cache's folder.
        keep: How many of the newest manifests stay, with all files that they name.
        shard_rows: How many rows a file may have: what is smaller is joined with its neighbours.
        index: Build the indexes anew that the cache had; else they are dropped.
        dry: Only say what would be done.
        progress: Called with the rows of every file that was read for rewriting.
        layer: The operations on the disk; another one only in tests.

    Raises:
        UsageError: If `keep` or `shard_rows` is below 1.
        DataError: If there is no cache.
        DamagedError: If a file is damaged; nothing was lost by the attempt.
        LeaseHeldError: If another process writes to the cache.
        StorageError: If it cannot be written.
    """
    folder = Path(cache)
    if shard_rows < 1:
        raise UsageError("too few rows a file", expected="1 or more", found=shard_rows)
    if dry:
        manifest = newest_manifest(folder)
        return _survey(folder, _there(folder, manifest), keep, shard_rows)[0]
    with open_writer(folder, create=False, layer=layer) as writer:
        before = _there(folder, writer.manifest)
        report, groups, rejects = _survey(folder, before, keep, shard_rows)
        report.dry = False
        changed = any(group.changes for group in groups) or any(len(one) > 1 for one in rejects)
        if changed or before.tombstones:
            _rewrite(writer, groups, rejects, report, progress)
        _indexes(writer, index, report)
        waste = find_waste(folder, keep)
        remove_waste(folder, waste, layer)
        report.manifests, report.files = len(waste.manifests), len(waste.files)
        report.bytes = waste.bytes
        return report


def _there(folder: Path, manifest: Manifest | None) -> Manifest:
    if manifest is None:
        raise DataError(
            "no cache", where=folder, hint=f"Make one: lqtse-cache generate {folder} -n 1000"
        )
    return manifest


def _survey(
    folder: Path, manifest: Manifest, keep: int, shard_rows: int
) -> tuple[CompactReport, tuple[Group, ...], tuple[tuple[FileEntry, ...], ...]]:
    gone = frozenset(manifest.tombstones)
    removed: dict[str, int] = {}
    for entry in manifest.texts if gone else ():
        found = is_among(ids_of(folder, entry), gone)
        removed[entry.path] = sum(chunk.true_count for chunk in found.chunks)
    pending = pending_sources(folder, manifest)
    groups = plan_groups(manifest, removed, pending, shard_rows)
    rejects = plan_rejects(manifest.rejects, shard_rows)
    waste = find_waste(folder, keep)
    lost = sum(removed.values())
    staying = [group for group in groups if _rows(group) > 0]
    after = sum(len(group.units[0].files) for group in staying) + len(rejects)
    report = CompactReport(
        rows=sum(entry.rows for entry in manifest.texts) - lost,
        removed=lost,
        files_before=len({*manifest.captions, *manifest.data, *manifest.rejects}),
        files_after=after,
        rewritten=sum(len(group.units[0].files) for group in staying if group.changes)
        + sum(len(group) > 1 for group in rejects),
        manifests=len(waste.manifests),
        files=len(waste.files),
        bytes=waste.bytes,
        dry=True,
    )
    return report, groups, rejects


def _rows(group: Group) -> int:
    return sum(unit.rows for unit in group.units) - group.removed


def _rewrite(
    writer: CacheWriter,
    groups: Sequence[Group],
    rejects: Sequence[Sequence[FileEntry]],
    report: CompactReport,
    progress: Callable[[int], None],
) -> None:
    """Commit the new files and publish them."""
    old = writer.current
    place = {entry.path: number for number, entry in enumerate(old.captions)}
    captions: list[tuple[int, FileEntry]] = []
    data: list[FileEntry] = []
    for group in groups:
        first = group.units[0].captions
        unit = _join(writer, group, progress) if group.changes else group.units[0]
        if unit is None:
            continue
        if unit.captions is not None and first is not None:
            captions.append((place[first.path], unit.captions))
        if unit.data is not None:
            data.append(unit.data)
    refused = [
        files[0] if len(files) == 1 else writer.write_rejects(_refused(writer.path, files))
        for files in rejects
    ]
    writer.publish(
        captions=[entry for _, entry in sorted(captions, key=lambda pair: pair[0])],
        data=data,
        rejects=refused,
        tombstones=(),
        step={
            "step": "compact",
            "rows": report.rows,
            "removed": report.removed,
            "files_before": report.files_before,
            "files_after": report.files_after,
        },
    )


def _join(writer: CacheWriter, group: Group, progress: Callable[[int], None]) -> Unit | None:
    """Commit one group as one unit; None if no row of it stays."""
    gone = writer.current.tombstones if group.removed else ()
    captions = data = None
    texts = [unit.captions for unit in group.units if unit.captions is not None]
    vectors = [unit.data for unit in group.units if unit.data is not None]
    if _rows(group) > 0 and texts:
        captions = writer.write_captions(_tables(writer.path, texts, gone))
    if _rows(group) > 0 and vectors:
        space = writer.current.space
        if space is None:  # checked when the manifest was read: data has a space
            raise DataError("the manifest names embeddings but no space", where=writer.path)
        source = captions.sha256 if captions is not None else vectors[0].source
        precision = precision_of(writer.path, vectors)
        data = writer.write_data(_tables(writer.path, vectors, gone), space, source, precision)
    progress(sum(unit.rows for unit in group.units))
    return Unit(captions, data) if captions is not None or data is not None else None


def _tables(folder: Path, files: Sequence[FileEntry], gone: Sequence[str]) -> pa.Table:
    tables = [without(read_table(check_content(folder, entry)), gone) for entry in files]
    return pa.concat_tables(tables)


def _refused(folder: Path, files: Sequence[FileEntry]) -> pa.Table:
    # Early files lack columns that later ones have.
    tables = [read_table(check_content(folder, entry)) for entry in files]
    return pa.concat_tables([conform(table, rejects_schema()) for table in tables])


def _indexes(writer: CacheWriter, build: bool, report: CompactReport) -> None:
    """Build anew what is older than the data, or drop it."""
    old = writer.current
    stale = [entry for entry in old.indexes if not old.is_fresh(entry)]
    if not stale:
        return
    if build and old.data:
        from cache_store.index.rebuild import rebuild_index

        for entry in stale:
            try:
                note = rebuild_index(writer, entry.kind, entry, keep_older=True)
                report.indexes.append(entry.kind)
                report.notes += [note] if note else []
            except MissingDependencyError as error:
                report.notes.append(f"the {entry.kind} index was dropped: {error.what}")
    fresh = [entry for entry in writer.current.indexes if writer.current.is_fresh(entry)]
    if len(fresh) < len(writer.current.indexes):
        writer.publish(indexes=fresh)
