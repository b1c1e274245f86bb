"""FAISS indexes that one process builds: Flat, and HNSW, whose graph cannot be made in parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from cache_store.errors import UsageError
from cache_store.index.kinds import HNSW_PARAMS, load_faiss


def build(kind: str, dim: int, blocks: Iterable[npt.NDArray[np.float32]]) -> Any:
    """Return a FAISS index over the rows of all blocks, in order.

    Args:
        kind: "flat" or "hnsw"; for the others see `cells`.
        dim: D.
        blocks: The vectors, float32 [n, D] each.

    Raises:
        UsageError: For another kind.
        MissingDependencyError: If FAISS is not installed.
    """
    faiss = load_faiss()
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, HNSW_PARAMS["m"], faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = HNSW_PARAMS["ef_construction"]
        index.hnsw.efSearch = HNSW_PARAMS["ef_search"]
    else:
        raise UsageError("unknown kind of index", expected="flat or hnsw", found=repr(kind))
    for block in blocks:
        index.add(np.ascontiguousarray(block))
    return index
