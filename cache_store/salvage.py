"""The rows of a damaged file that are still what they promise to be.

A row group whose pages match their checksums is read, and of it the rows that pass the checks that
every row passes before it is written: normal form, the id of the caption, a unit vector.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache_store import schema
from cache_store.checks import find_bad_embedding
from cache_store.errors import DataError, storage_errors
from cache_store.shards import to_matrix
from cache_store.text import caption_id, normalise_caption


def salvage_rows(path: Path, kind: str, shape: tuple[int, str] | None = None) -> pa.Table | None:
    """Return the good rows of a file in their order; None if there is none.

    Args:
        path: The file; it may be missing.
        kind: `schema.CAPTIONS`, `schema.DATA` or `schema.REJECTS`.
        shape: For data, the cache's (dim, dtype): other embeddings are not taken.

    Raises:
        StorageError: If the file may not be read, or the disk fails: then nothing is known of it.
    """
    tables = []
    seen: set[str] = set()
    for group in _groups(path):
        try:
            table = schema.conform(group, _schema(kind, shape))
            good = np.ones(table.num_rows, dtype=bool)
            if kind != schema.REJECTS:
                good &= _good_captions(table, seen)
            if kind == schema.DATA:
                good &= _good_vectors(to_matrix(table.column("embedding")))
        except (DataError, pa.ArrowException, ValueError, TypeError):
            continue
        tables.append(table.filter(pa.array(good)))
    found = pa.concat_tables(tables) if tables else None
    return found if found is not None and found.num_rows else None


def _schema(kind: str, shape: tuple[int, str] | None) -> pa.Schema:
    if kind == schema.REJECTS:
        return schema.rejects_schema()
    if kind == schema.CAPTIONS or shape is None:
        return schema.captions_schema()
    return schema.data_schema(*shape)


def _groups(path: Path) -> Iterator[pa.Table]:
    """Yield the row groups that can be read."""
    try:
        with storage_errors(path):
            file = pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError):
        return
    with file:
        for number in range(file.num_row_groups):
            try:
                with storage_errors(path):
                    group = file.read_row_group(number)
            except (pa.ArrowException, OSError, ValueError):
                continue
            yield group


def _good_captions(table: pa.Table, seen: set[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    good = []
    for identity, caption in zip(
        table.column("id").to_pylist(), table.column("caption").to_pylist(), strict=True
    ):
        fits = bool(caption) and caption == normalise_caption(caption)
        fits = fits and identity == caption_id(caption) and identity not in seen
        seen.add(identity)
        good.append(fits)
    return np.array(good, dtype=bool)


def _good_vectors(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    good = np.ones(len(matrix), dtype=bool)
    start = 0
    while (bad := find_bad_embedding(matrix[start:])) is not None:
        good[start + bad[0]] = False
        start += bad[0] + 1
    return good
