"""Several caches of one space as a new one: the first cache that has a caption gives it.

Files of which every row is taken become files of the new cache as they are, by a second name of the
same bytes; only where rows are left out (removed ones, and captions of an earlier cache) is a file
written. Nothing is visible before the one manifest at the end, files are named by their content,
and so a merge that was killed is run again and goes on. Memory is the ids and one file.

The same inputs give the same files. Ledgers are not merged: an answer there belongs to a plan's
place in its own cache, and `generate` goes on there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cache_store.errors import UsageError
from cache_store.files import DISK, FileLayer
from cache_store.idset import IdSet
from cache_store.links import link_content
from cache_store.manifest import FileEntry, Manifest, SpaceRecord, check_content, newest_manifest
from cache_store.merge_history import common_terms, joined_steps, last_settings
from cache_store.merge_inputs import common_space, read_inputs
from cache_store.shards import read_table
from cache_store.units import Unit, ids_of, is_among, precision_of, units_of
from cache_store.writer import CacheWriter, open_writer

STEP = "merge"


@dataclass(frozen=True)
class Taken:
    """What one cache gave.

    Attributes:
        name: Its folder's name.
        manifest: The number of its newest manifest.
        captions: Captions that it has, removed ones left out.
        taken: How many are in the new cache because of it.
        duplicates: How many an earlier cache had given.
        removed: How many had been removed there, and were left behind.
    """

    name: str
    manifest: int
    captions: int
    taken: int
    duplicates: int
    removed: int


@dataclass
class MergeReport:
    """What was merged.

    Attributes:
        inputs: What each cache gave, in their order.
        captions: Captions in the new cache.
        embedded: How many of them are embedded.
        refused: Refused captions that came along.
        linked: Files that were taken as they are.
        written: Files that were written anew.
        space: The space's name, None if nothing is embedded.
        already: Whether the new cache was there, of the same inputs, and nothing was done.
        dry: Whether nothing was written.
    """

    inputs: list[Taken] = field(default_factory=list)
    captions: int = 0
    embedded: int = 0
    refused: int = 0
    linked: int = 0
    written: int = 0
    space: str | None = None
    already: bool = False
    dry: bool = False


def merge_caches(
    out: str | Path,
    inputs: Sequence[str | Path],
    *,
    copy: bool = False,
    dry: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    layer: FileLayer = DISK,
) -> MergeReport:
    """Make one cache of several.

    Args:
        out: The new cache's folder.
        inputs: Folders of caches, two at least; of a caption that several have, the first wins.
        copy: Copy whole files instead of giving them a second name.
        dry: Only say what would be taken.
        progress: Called with the rows of each file that was dealt with.
        layer: The operations on the disk; another one only in tests.

    Raises:
        UsageError: If `out` is a cache of something else, or an input comes twice.
        DataError: If an input is no cache, or is damaged.
        SpaceMismatchError: If two inputs have embeddings of different spaces or types.
        LeaseHeldError: If another process writes to `out`.
        StorageError: If it cannot be written.
    """
    target, folders = Path(out), [Path(one) for one in inputs]
    manifests = read_inputs(target, folders)
    space = common_space(folders, manifests)
    merger = _Merger(list(zip(folders, manifests, strict=True)), copy, progress)
    if dry:
        return merger.run(None, space)
    there = newest_manifest(target) if target.is_dir() else None
    if there is not None:
        report = _already(target, there, merger, space)
        with open_writer(
            target, layer=layer
        ):  # mends the card, if the run before did not get there
            return report
    with open_writer(target, layer=layer) as writer:
        return merger.run(writer, space)


def _already(
    target: Path, there: Manifest, merger: _Merger, space: SpaceRecord | None
) -> MergeReport:
    """The report of a merge that is done; an error if `target` is another cache."""
    last: Mapping[str, Any] = there.provenance[-1] if there.provenance else {}
    if last.get("step") != STEP or last.get("inputs") != merger.origins():
        raise UsageError(
            "the new cache exists, and is not of these inputs as they are now",
            where=target,
            hint="Name a new folder; a merged cache may itself be an input",
        )
    return replace(merger.run(None, space), already=True, dry=False)


class _Merger:
    def __init__(
        self,
        inputs: Sequence[tuple[Path, Manifest]],
        copy: bool,
        progress: Callable[[int], None],
    ) -> None:
        self.inputs = inputs
        self.copy = copy
        self.progress = progress
        self.seen = IdSet()
        self.report = MergeReport()

    def origins(self) -> list[dict[str, Any]]:
        """What the new cache says of where it comes from; names, and never where they lay."""
        return [
            {"name": folder.resolve().name, "manifest": one.number, "hash": one.self_hash}
            for folder, one in self.inputs
        ]

    def run(self, writer: CacheWriter | None, space: SpaceRecord | None) -> MergeReport:
        """Take everything, and publish it; without a writer, only count."""
        report = self.report
        report.dry, report.space = writer is None, space.name if space else None
        units: list[Unit] = []
        rejects: dict[str, FileEntry] = {}
        for folder, manifest in self.inputs:
            units += self.take(folder, manifest, writer, space)
            for entry in manifest.rejects:
                if entry.path not in rejects:  # two caches of one origin share files
                    rejects[entry.path] = entry
                    report.refused += entry.rows
                    report.linked += 1
                    if writer is not None:
                        self.link(folder, entry, writer)
        if writer is not None:
            writer.publish(
                captions=[unit.captions for unit in units if unit.captions is not None],
                data=[unit.data for unit in units if unit.data is not None],
                rejects=list(rejects.values()),
                provenance=joined_steps([manifest for _, manifest in self.inputs]),
                step=self.step(),
                **last_settings([manifest for _, manifest in self.inputs]),
            )
        return report

    def take(
        self,
        folder: Path,
        manifest: Manifest,
        writer: CacheWriter | None,
        space: SpaceRecord | None,
    ) -> Iterator[Unit]:
        """Yield what one cache gives."""
        captions = taken = duplicates = 0
        removed = sum(entry.rows for entry in manifest.texts)
        for unit in units_of(manifest):
            ids = ids_of(folder, unit.texts)
            if manifest.tombstones:
                gone = is_among(ids, manifest.tombstones)
                ids = ids.filter(pc.invert(gone))
            known = self.seen.has(ids)
            new = ids.filter(pa.array(~known))
            self.seen.add(new)
            captions += len(ids)
            taken += len(new)
            duplicates += len(ids) - len(new)
            if len(new):
                self.report.captions += len(new)
                self.report.embedded += len(new) if unit.data is not None else 0
                yield self.give(folder, unit, new, writer, space)
            self.progress(unit.rows)
        name = folder.resolve().name
        removed -= captions
        self.report.inputs.append(
            Taken(name, manifest.number, captions, taken, duplicates, removed)
        )

    def give(
        self,
        folder: Path,
        unit: Unit,
        ids: pa.ChunkedArray,
        writer: CacheWriter | None,
        space: SpaceRecord | None,
    ) -> Unit:
        """Return a unit of the new cache: as it is, or written without the other rows."""
        if len(ids) == unit.rows:
            self.report.linked += len(unit.files)
            if writer is not None:
                for entry in unit.files:
                    self.link(folder, entry, writer)
            if unit.captions is None and unit.data is not None:
                return Unit(None, replace(unit.data, source=""))
            return unit
        self.report.written += len(unit.files)
        if writer is None:
            return unit
        captions = data = None
        if unit.captions is not None:
            captions = writer.write_captions(_rows(folder, unit.captions, ids))
        if unit.data is not None and space is not None:
            source = captions.sha256 if captions is not None else ""
            precision = precision_of(folder, [unit.data])
            data = writer.write_data(_rows(folder, unit.data, ids), space, source, precision)
        return Unit(captions, data)

    def link(self, folder: Path, entry: FileEntry, writer: CacheWriter) -> None:
        link_content(folder, writer.path, entry, copy=self.copy, layer=writer.layer)

    def step(self) -> dict[str, Any]:
        """What the provenance says of the merge."""
        counts = [
            {"name": one.name, "captions": one.captions, "taken": one.taken}
            for one in self.report.inputs
        ]
        terms = common_terms([(one[0].resolve().name, one[1]) for one in self.inputs])
        return {"step": STEP, "inputs": self.origins(), "counts": counts, **terms}


def _rows(folder: Path, entry: FileEntry, ids: pa.ChunkedArray) -> pa.Table:
    table = read_table(check_content(folder, entry))
    return table.filter(is_among(table.column("id"), ids.to_pylist()))
