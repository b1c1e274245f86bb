"""Text-side rows and audio-side queries, drawn from gaussians fitted on real vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 16_384
COPIES = 0.1  # of the rows are near another row
LIKENESS = 0.98  # their cosine with it


def fit(vectors: Any) -> tuple[Any, Any]:
    """Mean and covariance of few vectors; the covariance shrunk as O. Ledoit and M. Wolf (2004) do.

    Shape:
        vectors [n, D] -> [D], [D, D].
    """
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    count, dim = centred.shape
    covariance = centred.T @ centred / count
    level = np.trace(covariance) / dim
    spread = ((covariance - level * np.eye(dim)) ** 2).sum()
    noise = (((centred**2).sum(axis=1) ** 2).sum() / count - (covariance**2).sum()) / count
    shrink = min(1.0, max(0.0, noise / spread))
    return mean, (1 - shrink) * covariance + shrink * level * np.eye(dim)


def draw(fitted: tuple[Any, Any], rows: int, seed: int, *, copies: bool) -> Any:
    """Yield blocks of unit vectors, float32 [n, D], `rows` in all; the same for the same seed.

    With `copies`, each row is with probability `COPIES` a near-duplicate of a row of its block, at
    cosine `LIKENESS`.
    """
    mean, covariance = fitted
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
    generator = np.random.default_rng(seed)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        noise = generator.standard_normal((count, len(mean)), dtype=np.float32)
        block = unit(noise @ root + mean.astype(np.float32))
        if copies:
            near = np.flatnonzero(generator.random(count) < COPIES)
            others = block[generator.integers(0, count, len(near))]
            away = generator.standard_normal(others.shape, dtype=np.float32)
            away = unit(away - (away * others).sum(axis=1, keepdims=True) * others)
            block[near] = LIKENESS * others + (1 - LIKENESS**2) ** 0.5 * away
        yield block


def unit(vectors: Any) -> Any:
    """Rows of norm 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def read_vectors(path: Path) -> Any:
    """The column `embedding` of a Parquet file, float64 [n, D]."""
    import pyarrow.parquet as pq

    column = pq.read_table(path, columns=["embedding"]).column(0)
    return np.array(column.to_pylist(), dtype=np.float64)
