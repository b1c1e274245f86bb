"""A cache as a `datasets.Dataset` over the same memory.

The embedding column is a view of the cache's matrix: memory-mapped where `index` wrote it out, one
array shared with `Cache.embeddings` elsewhere. Only the texts are read, page checksums verified.
Removed captions are left out by a list of rows, so that nothing moves for their sake.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cache_store import schema
from cache_store.manifest import FileEntry, Manifest
from cache_store.shards import from_matrix, read_table

if TYPE_CHECKING:
    import datasets

    Matrix = np.ndarray[Any, Any]


def to_dataset(
    folder: Path, manifest: Manifest, matrix: Matrix | None, live: npt.NDArray[np.int64]
) -> datasets.Dataset:
    """Return the rows of a cache; the captions without embeddings if there are none yet.

    Args:
        folder: The cache.
        manifest: What it is.
        matrix: Its embeddings in row order, None while nothing is embedded.
        live: The rows of captions that were not removed, ascending; unused without `matrix`.

    Shape:
        matrix [N, D], live [n]; the dataset has n rows.

    Raises:
        DamagedError: If a file is missing or damaged.
    """
    import datasets

    if matrix is None:
        table = _stack(folder, manifest.captions, schema.captions_schema(), None)
        removed = pa.array(manifest.tombstones, pa.string())
        keep = ~np.isin(table.column("id").to_numpy(), removed.to_numpy(zero_copy_only=False))
        live = np.flatnonzero(keep)
    else:
        dim, space = matrix.shape[1], manifest.space
        known = {"space": space.name, "fingerprint": space.fingerprint} if space else {}
        wanted = schema.data_schema(dim, matrix.dtype.name, **known)
        table = _stack(folder, manifest.data, wanted, matrix)
    # A fingerprint of its own: datasets would make one by serialising the whole table.
    dataset = datasets.Dataset(table, fingerprint=manifest.self_hash[:16])
    return dataset if len(live) == len(dataset) else dataset.select(live, keep_in_memory=True)


def _stack(
    folder: Path, files: tuple[FileEntry, ...], wanted: pa.Schema, matrix: Matrix | None
) -> pa.Table:
    """All files as one table, one chunk a file; `matrix` is its last column."""
    texts = [name for name in wanted.names if name != "embedding"]
    parts, start = [], 0
    for entry in files:
        columns = read_table(folder / entry.path, texts).columns
        if matrix is not None:
            columns.append(from_matrix(matrix[start : start + entry.rows]))
        parts.append(pa.table(columns, schema=wanted))
        start += entry.rows
    return pa.concat_tables(parts) if parts else wanted.empty_table()
