"""What every row must be: checked before rows are written, and again by `verify`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from cache_store.errors import DataError
from cache_store.shards import to_matrix
from cache_store.text import caption_id, normalise_caption

# How far a norm may be from 1. Rounding a unit vector to float16 moves its norm by less than 1e-3;
# the rest is room for models that normalise in half precision.
NORM_TOLERANCE = {"float16": 1e-2, "float32": 1e-3}
_CHECK_ROWS = 4096  # rows widened to float32 at once


def check_captions(table: pa.Table) -> None:
    """Check that captions are in normal form, ids are theirs, and no id comes twice.

    Raises:
        DataError: Naming the first row that is wrong.
    """
    captions = table.column("caption").to_pylist()
    ids = table.column("id").to_pylist()
    for row, (caption, identity) in enumerate(zip(captions, ids, strict=True)):
        if not caption or caption != normalise_caption(caption):
            raise DataError("a caption is not in normal form", where=f"row {row}", found=caption)
        if identity != caption_id(caption):
            raise DataError(
                "an id is not the one of its caption",
                where=f"row {row}",
                expected=caption_id(caption),
                found=identity,
            )
    first: dict[str, int] = {}
    for row, identity in enumerate(ids):
        if first.setdefault(identity, row) != row:
            raise DataError(
                "a caption comes twice",
                where=f"rows {first[identity]} and {row}",
                found=captions[row],
            )


def check_embeddings(column: pa.ChunkedArray | pa.Array, first_row: int = 0) -> None:
    """Check that every embedding is finite and of unit norm; `first_row` is for the message.

    Raises:
        DataError: Naming the first row that is wrong.
    """
    fault = find_bad_embedding(to_matrix(column))
    if fault is not None:
        row, found = fault
        raise DataError(
            "an embedding is not a unit vector",
            where=f"row {first_row + row}",
            expected="norm 1",
            found=found,
        )


def find_bad_embedding(matrix: np.ndarray[Any, Any]) -> tuple[int, str] | None:
    """Return the first row that is not finite or not of unit norm, and what it is; or None.

    Shape:
        matrix: [N, D], float16 or float32; may be memory-mapped.
    """
    tolerance = NORM_TOLERANCE[matrix.dtype.name]
    for start in range(0, len(matrix), _CHECK_ROWS):
        block = np.asarray(matrix[start : start + _CHECK_ROWS], dtype=np.float32)
        norms = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
        bad = ~(np.abs(norms - 1.0) <= tolerance)  # also true for NaN
        if bad.any():
            row = int(np.argmax(bad))
            found = f"norm {norms[row]:.4g}" if np.isfinite(norms[row]) else "NaN or infinity"
            return start + row, found
    return None
