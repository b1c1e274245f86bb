"""Whether an index, whose files match their hashes, holds the vectors of the data bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cache_store.errors import DamagedError, MissingDependencyError
from cache_store.index.means import check_means
from cache_store.manifest import CENTRING, FileEntry, IndexEntry, Manifest
from cache_store.opening import map_matrix
from cache_store.shards import iter_batches, to_matrix

_BLOCK_ROWS = 8192


def compare_index(
    folder: Path, manifest: Manifest, index: IndexEntry, entry: FileEntry
) -> list[str]:
    """Compare a file of an index with the data, a block at a time.

    Args:
        folder: The cache.
        manifest: Names the data, whose files are whole.
        index: Of these data.
        entry: One of its files.

    Returns:
        What is not wrong but worth knowing.

    Raises:
        DamagedError: If it holds anything else.
    """
    path = folder / entry.path
    if index.kind == CENTRING and manifest.space is not None:
        check_means(path, manifest.space.dim)
        return []
    if index.kind == "ivfpq" or len(index.files) > 1:
        return []  # reduced vectors and codes are not the data's bytes; their hash was checked
    try:
        rows, read = _reader(index.kind, path, entry.bytes)
    except MissingDependencyError as error:
        return [f"{entry.path}: not compared with the data; {error.what}"]
    if rows != manifest.rows:
        raise DamagedError("an index has other rows", expected=manifest.rows, found=rows)
    start = 0
    for data in manifest.data:
        for batch in iter_batches(folder / data.path, ["embedding"], rows=_BLOCK_ROWS):
            stored = to_matrix(batch.column(0))
            # In bytes, so that a zero of another sign counts too.
            if read(start, len(stored), stored.dtype).tobytes() != stored.tobytes():
                raise DamagedError(
                    "an index holds other vectors than the data",
                    where=f"rows {start} to {start + len(stored) - 1}",
                    hint=f"Build it anew: lqtse-cache index --kind {index.kind}",
                )
            start += len(stored)
    return []


def _reader(
    kind: str, path: Path, size: int
) -> tuple[int, Callable[[int, int, Any], np.ndarray[Any, Any]]]:
    """Return an index's rows, and a function that reads some of them as they are in the data."""
    if kind == "exact":
        matrix = map_matrix(path)
        return len(matrix), lambda start, count, dtype: matrix[start : start + count]
    from cache_store.index.faiss_files import read_index, vectors_of

    index = read_index(path, size=size)
    return index.ntotal, lambda start, count, dtype: vectors_of(index, start, count).astype(dtype)
