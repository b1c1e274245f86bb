"""How widely an approximate index must search: recall against the exact search, breadth by breadth.

Letters: B queries, D embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache_store.index.exact import ExactIndex
from cache_store.index.faiss_index import FaissIndex
from cache_store.index.reduction import Reduction

RECALL_K = 10
_RECALL_QUERIES = 256
_RECALL_PURPOSE = 0x2EC411
_MOST_CELLS = 4096
_MOST_CANDIDATES = 2048
_TUNED = ("recall_at_1", "recall_at_10", "target_recall", "curve", "recall_queries")
MEASURED_BEFORE = "before the data were rewritten"


@dataclass(frozen=True)
class Point:
    """Recall at one breadth: the share of the exact search's first and first ten rows found."""

    breadth: int
    recall_at_1: float
    recall_at_10: float


@dataclass(frozen=True)
class Tuned:
    """The curve, by rising breadth, and the point to search with."""

    curve: tuple[Point, ...]
    chosen: Point

    def to_params(self, name: str, target: float) -> dict[str, Any]:
        """Return what the manifest holds of it."""
        return {
            name: self.chosen.breadth,
            "recall_at_1": self.chosen.recall_at_1,
            "recall_at_10": self.chosen.recall_at_10,
            "target_recall": target,
            "curve": [
                {
                    name: point.breadth,
                    "recall_at_1": point.recall_at_1,
                    "recall_at_10": point.recall_at_10,
                }
                for point in self.curve
            ],
        }


@dataclass(frozen=True)
class Kept:
    """What an index was tuned to with queries that are not at hand when it is built anew.

    Attributes:
        params: Of the older index.
        reduction: The space that the queries shaped, if it had one.
    """

    params: Mapping[str, Any]
    reduction: Reduction | None = None

    def to_params(self, name: str, most: int) -> dict[str, Any]:
        """Return what the manifest holds of it: as it was, and that it was measured before.

        Args:
            name: Of the breadth.
            most: The widest that the new index can be searched.
        """
        kept = {key: self.params[key] for key in _TUNED if key in self.params}
        return {
            name: min(int(self.params[name]), most),
            **kept,
            "recall_measured": MEASURED_BEFORE,
        }


@dataclass(frozen=True)
class Asked:
    """Queries to learn from, others to measure with, and the rows that the latter are, if any."""

    fitting: npt.NDArray[np.float32]
    measuring: npt.NDArray[np.float32]
    own: npt.NDArray[np.int64]
    name: str

    @classmethod
    def of(cls, matrix: np.ndarray[Any, Any], queries: npt.NDArray[np.float32] | None) -> Asked:
        """Halve what is given; where nothing is, draw rows for both.

        Shape:
            matrix [N, D], queries [B, D].
        """
        if queries is not None:
            # Recall of the very queries that it was fitted to would be too good.
            fitting, measuring = (
                (queries[::2], queries[1::2]) if len(queries) > 1 else (queries,) * 2
            )
            return cls(fitting, measuring, np.empty(0, dtype=np.int64), "given")
        generator = np.random.default_rng([0, _RECALL_PURPOSE])
        count = min(2 * _RECALL_QUERIES, len(matrix))
        rows = generator.choice(len(matrix), count, replace=False)
        own, other = np.sort(rows[: -(-count // 2)]), np.sort(rows[count // 2 :])
        fitting, measuring = (matrix[part].astype(np.float32) for part in (other, own))
        return cls(fitting, measuring, own, "captions")


def breadths(kind: str, index: Any) -> list[int]:
    """Return the breadths to try, each half as wide again as the last."""
    low, high = (128, _MOST_CANDIDATES) if kind == "hnsw" else (1, min(index.nlist, _MOST_CELLS))
    tried = [low]
    while tried[-1] < high:
        tried.append(min(high, max(tried[-1] + 1, tried[-1] * 3 // 2)))
    return tried


def tune(
    index: FaissIndex,
    matrix: Tensor,
    queries: npt.NDArray[np.float32],
    tried: Sequence[int],
    target: float,
    *,
    own: npt.NDArray[np.int64],
) -> Tuned:
    """Measure recall from the narrowest breadth on, until it reaches the target.

    The curve never falls: a breadth counts with the best recall up to it.

    Args:
        index: Left at the breadth that was chosen.
        matrix: The stored vectors.
        queries: What to ask.
        tried: Breadths, ascending.
        target: Recall@10.
        own: The row of each query if queries are rows of the cache: finding itself says nothing.

    Shape:
        matrix [N, D], queries [B, D], own [B] or [0].
    """
    asked = torch.from_numpy(np.ascontiguousarray(queries, dtype=np.float32))
    k = min(RECALL_K + len(own[:1]), len(matrix))
    exact = ExactIndex(matrix).search(asked, k)[1].tolist()
    right = [
        [row for row in rows if row not in own[query : query + 1]][:RECALL_K]
        for query, rows in enumerate(exact)
    ]
    curve: list[Point] = []
    first = tenth = 0.0
    for breadth in tried:
        index.breadth = breadth
        found = [set(rows) for rows in index.search(asked, k)[1].tolist()]
        pairs = [(rows, got) for rows, got in zip(right, found, strict=True) if rows]
        hits = [len(got.intersection(rows)) / len(rows) for rows, got in pairs]
        tenth = max(tenth, float(np.mean(hits)) if hits else 1.0)
        first = max(first, float(np.mean([rows[0] in got for rows, got in pairs] or [True])))
        curve.append(Point(breadth, first, tenth))
        if tenth >= target:
            break
    index.breadth = curve[-1].breadth
    return Tuned(tuple(curve), curve[-1])
