"""Shorter vectors whose products with queries stay as they were: what an approximate index holds.

Queries of audio do not look in all directions alike. With S the second moment of the queries, the
rows' error counts as e' S e, so rows are mapped by S^(1/2), queries by its inverse, and of the
mapped rows the principal components are kept. A few dozen then carry nearly all that the order of
the rows depends on, and cells of the mapped rows are cells of like scores, for queries from the
other side of the modality gap too. What all rows share is taken off: it ranks nothing.

Letters: B queries, N rows, D embedding size, R reduced size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cache_store.errors import DamagedError

REDUCED_DIM = 48
_SHRINK = 0.05  # of the queries' second moment towards a round one: few queries see few directions

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reduction:
    """Maps for rows and for queries; their products approximate, up to a constant a query.

    Attributes:
        rows: [D, R].
        queries: [D, R].
        mean: The rows' mean, [D].
    """

    rows: Vectors
    queries: Vectors
    mean: Vectors

    @property
    def dim(self) -> int:
        """R."""
        return self.rows.shape[1]

    def map_rows(self, vectors: npt.NDArray[Any]) -> Vectors:
        """Return [n, D] as [n, R]."""
        return np.ascontiguousarray((vectors.astype(np.float32) - self.mean) @ self.rows)

    def map_queries(self, vectors: Vectors) -> Vectors:
        """Return [B, D] as [B, R]."""
        return np.ascontiguousarray(vectors @ self.queries)

    def to_array(self) -> Vectors:
        """Return all of it as one array [2R + 1, D], for a .npy file."""
        return np.concatenate([self.rows.T, self.queries.T, self.mean[None]])


def fit_reduction(sample: npt.NDArray[Any], queries: Vectors, dim: int = REDUCED_DIM) -> Reduction:
    """Return the reduction to `dim` values that keeps these queries' scores best.

    Args:
        sample: Rows drawn at random.
        queries: Queries like those to come.
        dim: R.

    Shape:
        sample [n, D], queries [B, D].
    """
    rows, asked = sample.astype(np.float64), queries.astype(np.float64)
    mean, size = rows.mean(axis=0), rows.shape[1]
    moment = asked.T @ asked / len(asked)
    level = np.trace(moment) / size
    moment = (1 - _SHRINK) * moment + _SHRINK * level * np.eye(size)
    values, vectors = np.linalg.eigh(moment)
    root = np.sqrt(np.maximum(values, 1e-12))
    forward, back = (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
    mapped = (rows - mean) @ forward
    kept = np.linalg.eigh(mapped.T @ mapped)[1][:, ::-1][:, :dim]
    # One sign for each component, whatever the library chose.
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    return Reduction(
        np.ascontiguousarray(forward @ kept, dtype=np.float32),
        np.ascontiguousarray(back @ kept, dtype=np.float32),
        mean.astype(np.float32),
    )


def read_reduction(path: Path, dim: int) -> Reduction:
    """Read what `to_array` gave; the caller has checked the file's hash.

    Raises:
        DamagedError: If it is no such file for vectors of `dim` values.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DamagedError("a file of an index is damaged", where=path, found=str(error)) from error
    if array.dtype != np.float32 or array.ndim != 2 or array.shape[1] != dim or len(array) % 2 != 1:
        raise DamagedError(
            "a file of an index is not the one that the manifest names",
            where=path,
            expected=f"float32 [2R + 1, {dim}]",
            found=f"{array.dtype} {list(array.shape)}",
        )
    size = len(array) // 2
    rows, queries = array[:size].T, array[size : 2 * size].T
    return Reduction(np.ascontiguousarray(rows), np.ascontiguousarray(queries), array[-1])
