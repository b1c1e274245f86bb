"""Take captions out of a cache, by their ids or by an expression over their columns.

A removed caption is a tombstone in a new manifest: no search, sample or dataset of ours shows it,
and its row lies in the files until `compact` rewrites them. Memory is one file's texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from cache_store.clips.where import matching_rows
from cache_store.errors import DataError, UsageError
from cache_store.manifest import FileEntry, Manifest, newest_manifest
from cache_store.shards import read_table
from cache_store.writer import open_writer

EXAMPLES = 10
_COLUMNS = ("id", "caption", "concepts", "axes", "model", "request_id")


@dataclass(frozen=True)
class RemoveReport:
    """What was removed, or would be.

    Attributes:
        captions: Captions before, those removed earlier left out.
        removed: How many go.
        left: How many stay.
        unknown: Ids that the cache does not have.
        already: Ids, or captions that match, that had been removed before.
        examples: Some of the captions that go.
        dry: Whether nothing was changed.
    """

    captions: int
    removed: int
    left: int
    unknown: int
    already: int
    examples: tuple[str, ...]
    dry: bool


def remove_captions(
    cache: str | Path,
    *,
    ids: Collection[str] | None = None,
    where: str | None = None,
    dry: bool = False,
    examples: int = EXAMPLES,
    progress: Callable[[int], None] = lambda _: None,
) -> RemoveReport:
    """Remove captions; nothing is published where nothing is removed.

    Args:
        cache: The cache's folder.
        ids: Of the captions to remove.
        where: An expression that selects them, over `caption`, `words` (how many), `concepts`,
            `model`, `request_id`, `id` and the axes of diversity, such as `register`.
        dry: Only say what would go.
        examples: How many captions to show.
        progress: Called with the rows of each file that was read.

    Raises:
        UsageError: If not exactly one of `ids` and `where` is given, or the expression is wrong.
        DataError: If there is no cache.
        LeaseHeldError: If another process writes to the cache.
        StorageError: If the manifest cannot be written.
    """
    if (ids is None) == (where is None):
        raise UsageError("name what to remove", expected="either ids or an expression")
    folder = Path(cache)
    if dry:
        return _find(folder, newest_manifest(folder), ids, where, examples, progress)[0]
    with open_writer(folder, create=False) as writer:
        report, gone = _find(folder, writer.manifest, ids, where, examples, progress)
        if gone:
            how = {"where": where} if where is not None else {"ids": len(ids or ())}
            step = {"step": "remove", **how, "captions": report.captions, "removed": report.removed}
            writer.publish(tombstones=(*writer.current.tombstones, *gone), step=step)
    return RemoveReport(**{**vars(report), "dry": False})


def _find(
    folder: Path,
    manifest: Manifest | None,
    ids: Collection[str] | None,
    where: str | None,
    examples: int,
    progress: Callable[[int], None],
) -> tuple[RemoveReport, list[str]]:
    if manifest is None:
        raise DataError(
            "no cache", where=folder, hint=f"Make one: lqtse-cache generate {folder} -n 1000"
        )
    wanted = frozenset(ids) if ids is not None else None
    axes = _axes(folder, manifest) if where is not None else frozenset()
    before = frozenset(manifest.tombstones)
    captions = already = found = 0
    gone: list[str] = []
    shown: list[str] = []
    for entry in manifest.texts:
        table = read_table(folder / entry.path, _COLUMNS if wanted is None else ("id", "caption"))
        columns = table.to_pydict()
        hits = (
            [one in wanted for one in columns["id"]]
            if wanted is not None
            else matching_rows(where or "", _visible(columns, axes), table.num_rows).tolist()
        )
        for one, caption, hit in zip(columns["id"], columns["caption"], hits, strict=True):
            captions += one not in before
            found += hit
            if hit and one in before:
                already += 1
            elif hit:
                gone.append(one)
                if len(shown) < examples:
                    shown.append(caption)
        progress(table.num_rows)
    unknown = len(wanted) - found if wanted is not None else 0
    report = RemoveReport(
        captions, len(gone), captions - len(gone), unknown, already, tuple(shown), True
    )
    return report, gone


def _visible(columns: Mapping[str, Any], axes: frozenset[str]) -> dict[str, list[Any]]:
    """The columns that an expression sees."""
    seen = {name: list(columns[name]) for name in _COLUMNS if name != "axes"}
    seen["words"] = [len(caption.split()) for caption in columns["caption"]]
    parsed: dict[str, dict[str, Any]] = {one: _parse(one) for one in set(columns["axes"])}
    for name in axes - seen.keys():
        seen[name] = [parsed[one].get(name) for one in columns["axes"]]
    return seen


def _axes(folder: Path, manifest: Manifest) -> frozenset[str]:
    """The names of all axes that any caption has."""
    return frozenset(name for one in _spellings(folder, manifest.texts) for name in _parse(one))


def _spellings(folder: Path, files: Collection[FileEntry]) -> Iterator[str]:
    for entry in files:
        yield from pc.unique(read_table(folder / entry.path, ["axes"]).column("axes")).to_pylist()


def _parse(axes: str) -> dict[str, Any]:
    try:
        found = json.loads(axes or "{}")
    except ValueError:  # imported captions may have axes of any kind
        return {}
    return found if isinstance(found, dict) else {}
