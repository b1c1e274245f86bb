"""Export a cache: which rows go, through which format, to where."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cache_store import schema
from cache_store.cache import Cache, open_cache
from cache_store.errors import EmptyInputError, UsageError
from pipeline.export.formats import Write, write_atlas, write_csv, write_jsonl, write_lance
from pipeline.export.output import check_output, whole_output
from pipeline.export.rows import LiveRows
from pipeline.peek import caption_files
from pipeline.progress import Progress, quiet


@dataclass(frozen=True)
class Format:
    """A format to export to.

    Attributes:
        name: Its name, `--to NAME`.
        suffix: How the output must end.
        write: What writes it.
        embedded: Whether it holds embeddings, so that only embedded captions go.
        opened: The command that opens the output, as words.
    """

    name: str
    suffix: str
    write: Write
    embedded: bool
    opened: Callable[[Path], Sequence[str]] | None = None


def _lancedb(output: Path) -> Sequence[str]:
    folder, table = json.dumps(str(output.parent)), json.dumps(output.stem)
    code = f"import lancedb; print(lancedb.connect({folder}).open_table({table}).head(3))"
    return "python", "-c", code


def _atlas(output: Path) -> Sequence[str]:
    return "embedding-atlas", str(output), "--text", "caption", "--vector", "embedding"


FORMATS = {
    found.name: found
    for found in (
        Format("lance", ".lance", write_lance, True, _lancedb),
        Format("embedding-atlas", ".parquet", write_atlas, True, _atlas),
        Format("csv", ".csv", write_csv, False),
        Format("jsonl", ".jsonl", write_jsonl, False),
    )
}


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        output: The file, or the folder for Lance.
        rows: How many captions it holds.
        removed: Captions of the files that were removed from the cache, and left out.
        waiting: Captions that are not embedded, and left out of a format that holds embeddings.
        bytes: Its size.
        opened: The command that opens it, "" if any editor does.
    """

    output: Path
    rows: int
    removed: int
    waiting: int
    bytes: int
    opened: str


def export_cache(
    cache: str | Path, to: str, output: str | Path, *, progress: Progress = quiet
) -> Exported:
    """Write a cache's captions in the format of another tool.

    Args:
        cache: The cache's folder; it is only read.
        to: A name of `FORMATS`.
        output: The file or, for Lance, the folder to write; it must not be there.
        progress: How to show it.

    Raises:
        UsageError: If there is no such format, or the output cannot be that.
        DataError: If the format holds embeddings and nothing is embedded.
        EmptyInputError: If there is no caption to export.
        DamagedError: If a file of the cache is damaged; nothing is written.
        MissingDependencyError: If the format's package is not installed.
        StorageError: If the output cannot be written.
    """
    if to not in FORMATS:
        raise UsageError("no such format", expected=", ".join(FORMATS), found=repr(to))
    chosen, target = FORMATS[to], Path(output)
    with open_cache(cache) as store:
        check_output(target, chosen.suffix, store.path)
        wanted = _schema(store, chosen)
        every = caption_files(store.manifest)
        files = store.manifest.data if chosen.embedded else every
        listed = sum(entry.rows for entry in files)
        with whole_output(target) as tmp, progress(listed) as tick:
            rows = LiveRows(store, files, wanted.names, tick)
            chosen.write(tmp, wanted, rows)
            if not rows.count:
                raise EmptyInputError("the cache has no captions to export", where=cache)
    return Exported(
        output=target,
        rows=rows.count,
        removed=listed - rows.count,
        waiting=sum(entry.rows for entry in every) - listed,
        bytes=_size(target),
        opened=shlex.join(chosen.opened(target)) if chosen.opened else "",
    )


def _schema(store: Cache, chosen: Format) -> pa.Schema:
    """The columns to read; their metadata tell the space."""
    if not chosen.embedded:
        return schema.captions_schema()
    space, dtype = store.space, str(store.manifest.dtype)
    return schema.data_schema(space.dim, dtype, space=space.name, fingerprint=space.fingerprint)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(
        (Path(folder) / name).stat().st_size for folder, _, names in os.walk(path) for name in names
    )
