"""What opening a cache checks, and how its matrix of embeddings comes into memory."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from cache_store import schema
from cache_store.errors import (
    DamagedError,
    DataError,
    SpaceMismatchError,
    VersionMismatchError,
    storage_errors,
)
from cache_store.manifest import FileEntry, Manifest, check_file
from cache_store.shards import Footer, read_footer, read_table, to_matrix

# A header of a .npy file is Python: numpy evaluates it as a literal, and passes on what that says.
_HEADER_FAULTS = (
    *(ValueError, TypeError, EOFError, OSError, SyntaxError, TokenError),
    *(MemoryError, OverflowError, RecursionError),
)


def check_footers(folder: Path, manifest: Manifest) -> None:
    """Check every file's presence and size, and what each Parquet file says of itself.

    Raises:
        DamagedError: If a file is missing or cut, or has other rows than the manifest says.
        SpaceMismatchError: If a file's embeddings are of another space, width or type.
        VersionMismatchError: If another version of the format wrote it.
    """
    for kind, entries in (
        (schema.CAPTIONS, manifest.captions),
        (schema.DATA, manifest.data),
        (schema.REJECTS, manifest.rejects),
    ):
        for entry in entries:
            check_footer(manifest, kind, entry, check_file(folder, entry))
    for index in manifest.indexes:
        for entry in index.files:
            check_file(folder, entry)


def check_footer(manifest: Manifest, kind: str, entry: FileEntry, path: Path) -> None:
    """Check what one Parquet file says of itself; errors as `check_footers`."""
    footer = read_footer(path)
    version = footer.metadata.get("lqtse.format")
    if version != schema.FORMAT:
        raise VersionMismatchError(
            "a file has another format",
            where=path,
            expected=f"format {schema.FORMAT}",
            found=f"format {version}",
        )
    if footer.metadata.get("lqtse.kind") != kind or footer.rows != entry.rows:
        raise DamagedError(
            "a file is not the one that the manifest names",
            where=path,
            expected=f"{entry.rows} rows of {kind}",
            found=f"{footer.rows} rows of {footer.metadata.get('lqtse.kind')}",
        )
    _check_columns(path, kind, footer)
    if kind == schema.DATA:
        _check_space(path, manifest, footer)


def _check_columns(path: Path, kind: str, footer: Footer) -> None:
    expected = schema.rejects_schema() if kind == schema.REJECTS else schema.captions_schema()
    for column in expected:
        place = footer.schema.get_field_index(column.name)
        found = footer.schema.field(place).type if place >= 0 else None
        if found is None and kind == schema.REJECTS and column.name == "axes":
            continue  # early files lack it
        if found != column.type:
            raise DamagedError(
                f"a file has not the columns of {kind}",
                where=path,
                expected=f"{column.name}: {column.type}",
                found=f"{column.name}: {found}" if found else f"no column {column.name}",
            )


def _check_space(path: Path, manifest: Manifest, footer: Footer) -> None:
    space = manifest.space
    if space is None:
        raise DamagedError("the manifest names embeddings but no space", where=path)
    fingerprint = footer.metadata.get("lqtse.fingerprint", "")
    dim, dtype = schema.embedding_type(footer.schema)
    if (fingerprint, dim, dtype) != (space.fingerprint, space.dim, manifest.dtype):
        raise SpaceMismatchError(
            "a file holds embeddings of another space than the cache",
            where=path,
            expected=f"{space.name} ({space.fingerprint[:16]}), {manifest.dtype}[{space.dim}]",
            found=f"{footer.metadata.get('lqtse.space')} ({fingerprint[:16]}), {dtype}[{dim}]",
        )


def open_matrix(folder: Path, manifest: Manifest) -> np.ndarray[Any, Any]:
    """Return all embeddings: memory-mapped where a fresh index has them, else read from Parquet.

    Shape:
        [N, D], float16 or float32, not writable.

    Raises:
        DataError: If nothing is embedded yet.
        DamagedError: If the file does not hold what the manifest says.
    """
    if manifest.space is None:
        raise DataError(
            "the cache holds no embeddings", where=folder, hint=f"Run lqtse-cache embed {folder}"
        )
    expected = ((manifest.rows, manifest.space.dim), manifest.dtype)
    index = manifest.index("exact")
    if index is not None and manifest.is_fresh(index):
        path = check_file(folder, index.files[0])
        matrix = map_matrix(path)
        if (matrix.shape, matrix.dtype.name) != expected:
            raise DamagedError(
                "an index file is not the one that the manifest names",
                where=path,
                expected=expected,
                found=(matrix.shape, matrix.dtype.name),
            )
        return matrix
    matrix = np.empty(expected[0], dtype=expected[1])
    start = 0
    for entry in manifest.data:
        table = read_table(folder / entry.path, ["embedding"])
        matrix[start : start + entry.rows] = to_matrix(table.column("embedding"))
        start += entry.rows
    matrix.flags.writeable = False
    return matrix


def map_matrix(path: Path) -> np.ndarray[Any, Any]:
    """Return the matrix of a .npy file, memory-mapped and not writable.

    Raises:
        DamagedError: If the file is missing or is no such file.
    """
    try:
        with storage_errors(path):
            # Not `np.load`, which would open a zip or a pickle too.
            matrix: np.ndarray[Any, Any] = np.lib.format.open_memmap(path, mode="r")
        if not (matrix.dtype.isnative and matrix.flags.c_contiguous):
            raise ValueError("another byte order, or rows that are columns")
    except _HEADER_FAULTS as error:
        raise DamagedError(
            "a matrix file is damaged",
            where=path,
            found=str(error),
            hint="Build it anew: lqtse-cache index",
        ) from error
    return matrix
