"""Manifests that are Parquet: columns, and the stored embeddings with the space they came from.

Embeddings are read a batch at a time into one float32 matrix, so that memory peaks at the matrix
and not at twice that.

Letters: n rows, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.clips.text import Columns, NameRow
from cache_store.errors import DamagedError, DataError, EmptyInputError, storage_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH_ROWS = 2048
_BUFFER_BYTES = 1 << 20  # without it, a whole column of a row group is read at once


def read_parquet(
    path: Path, *, embeddings: bool = True
) -> tuple[Columns, NameRow, NDArray[np.float32] | None, dict[str, str]]:
    """Read a Parquet manifest.

    Args:
        path: The file.
        embeddings: Whether to read the `embedding` column.

    Returns:
        The columns but `embedding`; the name of a row; the embeddings as stored, float32 [n, D],
        or None; the file's metadata.

    Raises:
        DamagedError: If the file is cut, damaged, or not Parquet.
        DataError: If the embeddings are not vectors of one length.
        EmptyInputError: If there is no row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with (
            storage_errors(path),
            pq.ParquetFile(
                path, page_checksum_verification=True, buffer_size=_BUFFER_BYTES
            ) as file,
        ):
            schema = file.schema_arrow
            if file.metadata.num_rows == 0:
                raise EmptyInputError("no rows", where=path)
            stored = "embedding" in schema.names
            matrix = _embeddings(file, path) if stored and embeddings else None
            names = [name for name in schema.names if name != "embedding"]
            table = file.read(columns=names)
    except (pa.ArrowException, OSError) as error:
        raise DamagedError(f"cannot be read as Parquet ({_clause(error)})", where=path) from error
    columns: Columns = {name: table.column(name).to_pylist() for name in names}
    metadata = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (schema.metadata or {}).items()
    }
    return columns, lambda row: f"row {row + 1}", matrix, metadata


def _embeddings(file: Any, path: Path) -> NDArray[np.float32]:
    import pyarrow as pa

    kind = file.schema_arrow.field("embedding").type
    is_list = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
    if not (is_list or pa.types.is_large_list(kind)) or not pa.types.is_floating(kind.value_type):
        raise DataError("the column `embedding` is not made of vectors", where=path, found=kind)
    matrix = np.empty((file.metadata.num_rows, 0), np.float32)
    row = 0
    for batch in _batches(file):
        lengths = batch.value_lengths().to_numpy(zero_copy_only=False)
        if row == 0 and lengths[0] > 0:
            matrix = np.empty((len(matrix), int(lengths[0])), np.float32)
        wrong = np.flatnonzero(lengths != matrix.shape[1])  # NaN, for a missing one, is wrong too
        if len(wrong):
            raise DataError(
                f"row {row + int(wrong[0]) + 1} has an embedding of another length, or none",
                where=path,
                expected=matrix.shape[1],
                found=lengths[wrong[0]],
            )
        values = batch.flatten().to_numpy(zero_copy_only=False)
        matrix[row : row + len(batch)] = values.reshape(len(batch), -1)
        row += len(batch)
    return matrix


def _batches(file: Any) -> Iterator[Any]:
    # One row group at a time: asked for all of them, pyarrow begins to read several at once.
    for group in range(file.metadata.num_row_groups):
        for batch in file.iter_batches(_BATCH_ROWS, [group], ["embedding"], use_threads=False):
            yield batch.column(0)


def _clause(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:160]
