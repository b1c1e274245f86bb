"""The slowest and plainest search: all products in float64, rounded once, then sorted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def brute_force(
    matrix: Any, queries: Any, k: int, ids: Sequence[str] | None = None
) -> tuple[Any, Any]:
    """Scores (float32) and rows of the k best, larger score first, then smaller id (or row)."""
    products = np.asarray(queries, np.float64) @ np.asarray(matrix, np.float64).T
    scores = products.astype(np.float32)
    ties = np.arange(len(matrix)) if ids is None else np.argsort(np.argsort(np.asarray(ids)))
    rows = np.stack([np.lexsort((ties, -line))[:k] for line in scores])
    return np.take_along_axis(scores, rows, axis=1), rows
