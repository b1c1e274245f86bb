"""The rules of the strategies in plain numpy and float64, one loop a clip: slow and obvious."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[np.float64]]


def unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


def nearest(clip: Array, rows: Array, k: int) -> list[int]:
    """The k rows with the largest product, the smaller row first where they are equal."""
    scores = [float(row @ clip) for row in rows]
    return sorted(range(len(rows)), key=lambda row: (-scores[row], row))[:k]


class BruteIndex:
    """Stands in for `ExactIndex`: the same interface, a sort of all scores."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.live = None
        self.device = torch.device("cpu")
        self.searches = 0

    def with_matrix(self, matrix: Tensor) -> BruteIndex:
        return BruteIndex(matrix)

    def __len__(self) -> int:
        return len(self.matrix)

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        assert k <= len(self)
        self.searches += 1
        rows = self.matrix.double().numpy()
        found = [nearest(query, rows, k) for query in queries.double().numpy()]
        scores = [
            [float(rows[row] @ query) for row in best]
            for query, best in zip(queries.double().numpy(), found, strict=True)
        ]
        return torch.tensor(scores, dtype=torch.float32), torch.tensor(found)


def random_unit(seed: int, n: int, dim: int) -> Tensor:
    """n unit vectors of float32, [n, dim]."""
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    return torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).float()
