"""Look at a few rows of a cache: its captions, what was refused, or one file of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import EmptyInputError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from cache_store.cache import Cache
    from cache_store.manifest import FileEntry, Manifest
    from pipeline.llm.base import Answer

    Rows = np.ndarray[Any, np.dtype[np.int64]]

_SAMPLE_PURPOSE = 0x9EE7  # sets this generator apart from others of the same seed
_CAPTION_COLUMNS = ("caption", "concepts", "model", "id")
_REJECT_COLUMNS = ("reason", "caption", "concepts", "model", "request_id")


@dataclass(frozen=True)
class Filter:
    """Which rows to look at; all of them by default.

    Attributes:
        reason: Refused for this reason, or for one that begins with it and a colon ("no_answer").
        concept: Written for this concept.
    """

    reason: str | None = None
    concept: str | None = None

    @property
    def columns(self) -> list[str]:
        """The columns that it looks at."""
        wanted = {"reason": self.reason, "concepts": self.concept}
        return [name for name, value in wanted.items() if value is not None]

    def takes(self, row: dict[str, Any]) -> bool:
        """Whether a row is looked at."""
        if self.concept is not None and self.concept not in row["concepts"]:
            return False
        wanted = self.reason
        return wanted is None or row["reason"] == wanted or row["reason"].startswith(f"{wanted}:")


@dataclass(frozen=True)
class Peek:
    """Some rows.

    Attributes:
        rows: Each row's values by column, its number as `row`; with `raw`, the ledger's `answer` to
            its request, None if there is none.
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
    only: Filter | None = None,
    raw: bool = False,
) -> Peek:
    """Read some rows: the first ones, or a random sample.

    Args:
        cache: The cache's folder.
        count: How many rows, at most.
        seed: Draw them at random, the same for the same seed; None takes the first.
        rejects: Look at refused captions and their reasons.
        shard: Look at one file only: the beginning of its path in the cache, or of its name.
        only: Which rows to look at.
        raw: Look up the whole answer of each refused row in the ledger.

    Raises:
        UsageError: If no file, or more than one, is named so; or a reason or raw answers are
            wanted of captions that were not refused.
        EmptyInputError: If there is no row to see.
    """
    import numpy as np

    from cache_store.cache import open_cache
    from cache_store.rows import RowReader

    only = only or Filter()
    with open_cache(cache) as store:
        entries = store.manifest.rejects if rejects else caption_files(store.manifest)
        file = None
        if shard is not None:
            file = _named(shard, (*caption_files(store.manifest), *store.manifest.rejects))
            entries = (file,)
        refused = rejects or (file is not None and file.path.startswith("rejects/"))
        if not refused and (raw or only.reason is not None):
            raise UsageError(
                "captions have reasons and raw answers only if they were refused",
                hint="Add --rejects",
            )
        reader = RowReader(store.path, entries)
        rows = _matching(store, entries, only)
        if store.manifest.tombstones and not refused and len(rows):
            gone = np.isin(reader.column("id").to_pylist(), store.manifest.tombstones)
            rows = rows[~gone[rows]]
        total = len(rows)
        if not total:
            raise EmptyInputError(
                f"the cache has no {'refused captions' if refused else 'captions'}"
                f"{' of this kind' if only.columns else ''}",
                where=cache,
                expected=_reasons(store) if only.reason is not None else None,
                found=only.reason,
            )
        if seed is None:
            rows = rows[:count]
        else:
            generator = np.random.default_rng([seed, _SAMPLE_PURPOSE])
            rows = rows[np.sort(generator.choice(total, min(count, total), replace=False))]
        names = _REJECT_COLUMNS if refused else _CAPTION_COLUMNS
        columns = {name: reader.take(name, rows) for name in names}
    found = [
        {"row": int(row), **{name: values[place] for name, values in columns.items()}}
        for place, row in enumerate(rows)
    ]
    if raw:
        answers = _answers(Path(cache), [row["request_id"] for row in found])
        for row in found:
            row["answer"] = answers.get(row["request_id"])
    return Peek(found, total, file)


def caption_files(manifest: Manifest) -> tuple[FileEntry, ...]:
    """The files that together hold each caption once: data, and captions not embedded yet."""
    embedded = {entry.source for entry in manifest.data}
    waiting = (entry for entry in manifest.captions if entry.sha256 not in embedded)
    return (*manifest.data, *waiting)


def _matching(store: Cache, entries: Sequence[FileEntry], only: Filter) -> Rows:
    """The numbers of the rows that `only` takes."""
    import numpy as np

    from cache_store.shards import iter_batches

    if not only.columns:
        return np.arange(sum(entry.rows for entry in entries))
    found: list[int] = []
    first = 0
    for entry in entries:
        for batch in iter_batches(store.path / entry.path, only.columns):
            rows = enumerate(batch.to_pylist(), first)
            found += [number for number, row in rows if only.takes(row)]
            first += batch.num_rows
    return np.array(found, dtype=np.int64)


def _reasons(store: Cache) -> str:
    from cache_store.shards import iter_batches

    names: set[str] = set()
    for entry in store.manifest.rejects:
        for batch in iter_batches(store.path / entry.path, ["reason"]):
            names.update(batch.column(0).to_pylist())
    return ", ".join(sorted(names)) or "none was refused"


def _answers(cache: Path, request_ids: Sequence[str]) -> dict[str, Answer]:
    from pipeline.ledger_counts import read_ledger

    with read_ledger(cache) as ledger:
        return ledger.answers(request_ids) if ledger is not None else {}


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
