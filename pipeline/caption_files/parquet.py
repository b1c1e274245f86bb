"""Captions, and embeddings beside them, from Parquet files.

Letters: N rows, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import DamagedError, DataError, UsageError
from pipeline.caption_files.block import BLOCK_ROWS, Block, no_column

if TYPE_CHECKING:
    import pyarrow as pa


def declared_space(path: Path) -> tuple[str | None, str | None]:
    """The name and the fingerprint of the space that a Parquet file says its embeddings are from.

    Returns:
        `lqtse.space` and `lqtse.fingerprint` of the schema's metadata, None where absent.
    """
    import pyarrow.parquet as pq

    with _parquet_errors(path):
        metadata = pq.read_schema(path).metadata or {}
    name, fingerprint = (
        metadata.get(key, b"").decode("utf-8", "replace") or None
        for key in (b"lqtse.space", b"lqtse.fingerprint")
    )
    return name, fingerprint


def read_parquet(path: Path, column: str, embeddings: bool = False) -> Iterator[Block]:
    import pyarrow.parquet as pq
    import pyarrow.types as types

    with _parquet_errors(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        if column not in schema.names:
            raise no_column(path, column, schema.names)
        if embeddings and "embedding" not in schema.names:
            raise no_column(path, "embedding", schema.names)
        plain = [field.name for field in schema if not types.is_nested(field.type)]
        if column not in plain:
            raise UsageError(
                "a caption has to be text",
                where=f"{path}, column {column}",
                expected="string",
                found=str(schema.field(column).type),
            )
        first, width = 1, None
        wanted = [*plain, *(["embedding"] if embeddings else [])]
        for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=wanted):
            vectors = None
            if embeddings:
                vectors = _matrix(path, first, batch.column("embedding"), width)
                width = vectors.shape[1]
            columns = {name: batch.column(name).to_pylist() for name in plain}
            yield Block(first, columns, vectors)
            first += batch.num_rows


def _matrix(path: Path, first: int, column: pa.Array, width: int | None) -> Any:
    """A list column as [N, D] float32; every row has to be there, and as wide as the first."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    kind = column.type
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not listed or not types.is_floating(kind.value_type):
        raise DataError(
            "the column is no embedding",
            where=f"{path}, column embedding",
            expected="a list of floats a row",
            found=str(kind),
        )
    widths = pc.list_value_length(column)
    numbers = widths.fill_null(-1).to_numpy(zero_copy_only=False)
    width = width or int(numbers[0])
    wrong = np.flatnonzero((numbers != width) | (numbers <= 0))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            "an embedding is missing or of another width",
            where=f"{path}, row {first + row}",
            expected=f"{width} values" if width > 0 else "a list of floats",
            found=f"{int(numbers[row])} values" if numbers[row] >= 0 else "null",
        )
    values = pc.list_flatten(column)
    if values.null_count:
        raise DataError(
            "an embedding holds null",
            where=f"{path}, row {first + _first_null(values) // width}",
        )
    flat = values.cast(pa.float32()).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(len(column), -1))


def _first_null(values: pa.Array) -> int:
    import pyarrow.compute as pc

    return int(pc.index(pc.is_null(values), True).as_py())


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's word on the path, not Parquet's on the content
        raise DamagedError(
            "the Parquet file cannot be read: it is cut or damaged",
            where=path,
            found=str(error),
            hint="Fetch or write it again",
        ) from error
