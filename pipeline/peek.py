"""Look at a few rows of a cache: its captions, what was refused, or one file of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import EmptyInputError, UsageError

if TYPE_CHECKING:
    from cache_store.manifest import FileEntry, Manifest

_SAMPLE_PURPOSE = 0x9EE7  # sets this generator apart from others of the same seed
_CAPTION_COLUMNS = ("caption", "concepts", "model", "id")
_REJECT_COLUMNS = ("reason", "caption", "concepts", "model")


@dataclass(frozen=True)
class Peek:
    """Some rows.

    Attributes:
        rows: Each row's values by column, its number as `row`.
        total: Rows that there are to see.
        file: The one file looked at, None for all.
    """

    rows: list[dict[str, Any]]
    total: int
    file: FileEntry | None


def peek(
    cache: str | Path,
    *,
    count: int = 10,
    seed: int | None = None,
    rejects: bool = False,
    shard: str | None = None,
) -> Peek:
    """Read some rows: the first ones, or a random sample.

    Args:
        cache: The cache's folder.
        count: How many rows, at most.
        seed: Draw them at random, the same for the same seed; None takes the first.
        rejects: Look at refused captions and their reasons.
        shard: Look at one file only: the beginning of its path in the cache, or of its name.

    Raises:
        UsageError: If no file, or more than one, is named so.
        EmptyInputError: If there is no row to see.
    """
    import numpy as np

    from cache_store.cache import open_cache
    from cache_store.rows import RowReader

    with open_cache(cache) as store:
        entries = store.manifest.rejects if rejects else caption_files(store.manifest)
        file = None
        if shard is not None:
            file = _named(shard, (*caption_files(store.manifest), *store.manifest.rejects))
            entries = (file,)
        refused = rejects or (file is not None and file.path.startswith("rejects/"))
        reader = RowReader(store.path, entries)
        live = np.arange(len(reader))
        if store.manifest.tombstones and not refused and len(reader):
            gone = np.isin(reader.column("id").to_pylist(), store.manifest.tombstones)
            live = np.flatnonzero(~gone)
        total = len(live)
        if not total:
            what = "refused captions" if rejects else "captions"
            raise EmptyInputError(f"the cache has no {what}", where=cache)
        count = min(count, total)
        rows = live[:count]
        if seed is not None:
            generator = np.random.default_rng([seed, _SAMPLE_PURPOSE])
            rows = live[np.sort(generator.choice(total, count, replace=False))]
        names = _REJECT_COLUMNS if refused else _CAPTION_COLUMNS
        columns = {name: reader.take(name, rows) for name in names}
    found = [
        {"row": int(row), **{name: values[place] for name, values in columns.items()}}
        for place, row in enumerate(rows)
    ]
    return Peek(found, total, file)


def caption_files(manifest: Manifest) -> tuple[FileEntry, ...]:
    """The files that together hold each caption once: data, and captions not embedded yet."""
    embedded = {entry.source for entry in manifest.data}
    waiting = (entry for entry in manifest.captions if entry.sha256 not in embedded)
    return (*manifest.data, *waiting)


def _named(shard: str, entries: Sequence[FileEntry]) -> FileEntry:
    found = [
        entry
        for entry in entries
        if entry.path.startswith(shard) or Path(entry.path).name.startswith(shard)
    ]
    if len(found) != 1:
        raise UsageError(
            "no such file in the cache" if not found else "more than one file is named so",
            where=shard,
            expected=", ".join(entry.path for entry in (found or entries)[:5]) or "none",
        )
    return found[0]
