"""Commit a file to a cache: whole, checked, named by its content, and visible to nobody yet.

Nothing here needs the cache's lease: a name that comes from the content cannot clash, and until a
manifest names the file no reader sees it. So workers, on other machines too, may commit while the
holder of the lease plans and publishes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from cache_store import checks, schema
from cache_store.errors import DamagedError, DataError, storage_errors
from cache_store.files import DISK, FileLayer, commit_file
from cache_store.manifest import FileEntry, SpaceRecord
from cache_store.shards import read_table, write_table


def commit_data(
    cache: Path,
    table: pa.Table,
    space: SpaceRecord,
    source: str = "",
    layer: FileLayer = DISK,
    *,
    precision: str = "",
) -> FileEntry:
    """Commit a file of captions with embeddings.

    Args:
        cache: The cache's folder.
        table: Columns as `schema.data_schema` names them; embeddings of unit norm.
        space: Which model made the embeddings.
        source: The SHA-256 of the captions file that was embedded, "" for imported ones.
        layer: The operations on the disk.
        precision: In which the model computed, "" where it is not known.

    Raises:
        DataError: If a row is not finite, not of unit norm, or not what its column promises.
        StorageError: If it cannot be written.
    """
    dim, dtype = schema.embedding_type(table.schema)
    facts = {
        "space": space.name,
        "fingerprint": space.fingerprint,
        "source": source,
        "precision": precision,
    }
    table = schema.conform(table, schema.data_schema(dim, dtype, **facts))
    checks.check_captions(table)
    checks.check_embeddings(table.column("embedding"))
    return replace(commit_table(cache, schema.DATA, table, layer), source=source)


def commit_table(cache: Path, kind: str, table: pa.Table, layer: FileLayer = DISK) -> FileEntry:
    """Commit a table to the folder of its kind, as `schema.KINDS` has them.

    Raises:
        DataError: If it has no rows.
        StorageError: If it cannot be written.
    """
    if table.num_rows == 0:
        raise DataError(f"no rows to write to {kind}", where=cache)

    def check(path: Path) -> None:
        if not read_table(path).equals(table):
            raise DamagedError("what was written is not what was read back", where=path)

    return commit(
        cache, kind, ".parquet", lambda path: write_table(path, table), check, table.num_rows, layer
    )


def commit(
    cache: Path,
    folder: str,
    suffix: str,
    write: Callable[[Path], None],
    check: Callable[[Path], None],
    rows: int,
    layer: FileLayer = DISK,
) -> FileEntry:
    """Commit any file to a folder of the cache.

    Args:
        cache: The cache's folder.
        folder: Its name in the cache.
        suffix: The end of the file's name, with the dot.
        write: Creates the file at the path it is given.
        check: Reopens the file and raises if it is not what was meant.
        rows: How many rows it holds.
        layer: The operations on the disk.

    Raises:
        StorageError: If it cannot be written.
    """
    with storage_errors(cache / folder):
        done = commit_file(cache / folder, suffix, write, check, layer)
    return FileEntry(f"{folder}/{done.path.name}", done.sha256, done.bytes, rows)
