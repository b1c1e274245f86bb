"""Parquet files, written so that equal tables give equal bytes, and read so that damage shows.

Without page checksums almost every flipped bit loads as a silently different value; so pages carry
checksums, and every read of ours verifies them. zstd everywhere; embeddings have no dictionary
(they never repeat) and are stored as byte streams, which halves what zstd leaves on the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache_store.errors import DamagedError, storage_errors
from cache_store.schema import metadata_of

ROW_GROUP_ROWS = 16_384  # 16 MiB of float16 [512]: what a streaming reader holds at once
_EMBEDDING_LEAF = "embedding.list.element"
_REPAIR_HINT = "Run lqtse-cache verify on the cache to see all that is damaged"


@dataclass(frozen=True)
class Footer:
    """What a Parquet file says of itself, read without its rows.

    Attributes:
        rows: The number of rows.
        schema: Columns and types.
        metadata: The `lqtse.*` pairs.
    """

    rows: int
    schema: pa.Schema
    metadata: dict[str, str]


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table; the bytes depend on its rows, its schema and the library's version only."""
    write_tables(path, table.schema, [table])


def write_tables(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], *, rows: int = ROW_GROUP_ROWS
) -> None:
    """Write one table that comes in parts; memory holds one of them.

    Args:
        path: The Parquet file.
        schema: Of every part, and the metadata of the file.
        tables: The parts, in order; each begins a row group.
        rows: Rows of a row group, at most.
    """
    has_embedding = "embedding" in schema.names
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[name for name in _leaves(schema) if name != _EMBEDDING_LEAF],
        use_byte_stream_split=[_EMBEDDING_LEAF] if has_embedding else False,
        write_page_checksum=True,
    ) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=rows)


def read_table(
    path: Path, columns: Sequence[str] | None = None, *, verify: bool = True
) -> pa.Table:
    """Read a table, or some of its columns.

    Args:
        path: The Parquet file.
        columns: The columns to read, all by default.
        verify: Check every page's checksum.

    Raises:
        DamagedError: If the file is missing, cut, or a page does not match its checksum.
        StorageError: If it may not be read, or the disk fails.
    """
    with _open(path, verify) as file, _damage(path):
        wanted = list(columns) if columns is not None else file.schema_arrow.names
        # Threads pay where there are vectors; for a little text they only take memory.
        return file.read(columns=wanted, use_threads="embedding" in wanted)


def iter_batches(
    path: Path, columns: Sequence[str] | None = None, *, rows: int = ROW_GROUP_ROWS
) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows in order, at most `rows` at once, page checksums verified.

    Raises:
        DamagedError: As `read_table`.
        StorageError: The same.
    """
    with _open(path, True) as file:
        batches = file.iter_batches(rows, columns=list(columns) if columns is not None else None)
        while True:
            with _damage(path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def read_footer(path: Path) -> Footer:
    """Read what the file says of itself; costs one small read, whatever its size.

    Raises:
        DamagedError: If the file is missing or cut.
        StorageError: If it may not be read, or the disk fails.
    """
    with _open(path, False) as file, _damage(path):
        schema = file.schema_arrow
        return Footer(file.metadata.num_rows, schema, metadata_of(schema))


def to_matrix(column: pa.ChunkedArray | pa.Array) -> np.ndarray[Any, Any]:
    """Return an embedding column as an array.

    Shape:
        [N, D], float16 or float32.

    Raises:
        DamagedError: If a row or a value is null.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # no chunk at all: no rows
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    flat = array.flatten()
    if array.null_count or flat.null_count:  # a null row would be no row, and shift all after it
        raise DamagedError("an embedding is empty (null)", hint=_REPAIR_HINT)
    values: np.ndarray[Any, Any] = flat.to_numpy(zero_copy_only=False)
    return values.reshape(len(array), array.type.list_size)


def from_matrix(matrix: np.ndarray[Any, Any]) -> pa.FixedSizeListArray:
    """Return an array [N, D] of float16 or float32 as an embedding column."""
    values = np.ascontiguousarray(matrix)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


@contextmanager
def _open(path: Path, verify: bool) -> Iterator[pq.ParquetFile]:
    with _damage(path):
        file = pq.ParquetFile(path, page_checksum_verification=verify)
    with file:
        yield file


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        with storage_errors(path):  # a disk that fails is no damaged file
            yield
    except FileNotFoundError as error:
        raise DamagedError("a file is missing", where=path, hint=_REPAIR_HINT) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedError(
            "a Parquet file is damaged", where=path, found=str(error), hint=_REPAIR_HINT
        ) from error


def _leaves(schema: pa.Schema) -> list[str]:
    return [
        f"{field.name}.list.element" if pa.types.is_nested(field.type) else field.name
        for field in schema
    ]
