"""Search in a FAISS index: Flat (every row), HNSW (a graph), IVF (cells), IVF-PQ (cells of codes).

Cells hold rows reduced to what tells them apart for the queries (`reduction`), where the vectors
are long; a graph does not, since rows of unequal length are hard to reach in it. FAISS only makes
the short list; the final scores are those of the stored vectors (`rerank`), so its results and
those of the exact search are the same kind of thing. It accepts and returns nonsense in silence
(NaN queries, k beyond its size, id -1 for a miss, files with flipped bits): hence the guards here,
and the hash that the caller checks before a file is loaded.

Letters: B queries, N rows, D embedding size, K neighbours, W width of the short list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache_store.errors import DamagedError
from cache_store.index.exact import check_k, check_queries
from cache_store.index.faiss_files import read_index
from cache_store.index.faiss_gpu import MOST_ON_GPU, Clone, clone_to_gpu
from cache_store.index.kinds import CELLS, HNSW_PARAMS, SHORTLIST, kind_of, load_faiss
from cache_store.index.reduction import Reduction
from cache_store.index.rerank import IdLookup, order, product_error, rescore

SLACK = 16  # rows of the short list beyond k


class FaissIndex:
    """A loaded FAISS index beside the matrix that it was built from.

    Args:
        index: The FAISS index.
        kind: One of `FAISS_KINDS`.
        matrix: The stored vectors, float16 or float32, [N, D], on the CPU.
        ids: Gives the ids of rows; read only where scores are equal.
        removed: Rows that are never returned.
        reduction: How the index's vectors come from the stored ones; None if they are the same.
        breadth: How widely to search: cells visited (ivf, ivfpq), candidates kept (hnsw); None for
            what the index was built with.
        gpu: The same index on a GPU, to search there as far as FAISS can.
    """

    def __init__(
        self,
        index: Any,
        kind: str,
        matrix: Tensor,
        ids: IdLookup | None = None,
        removed: npt.NDArray[np.int64] | None = None,
        reduction: Reduction | None = None,
        breadth: int | None = None,
        gpu: Clone | None = None,
    ) -> None:
        self._index = index
        self._gpu = gpu
        self._reduction = reduction
        self.breadth = breadth
        self._kind = kind
        self._matrix = matrix
        self._ids = ids
        self._removed = np.empty(0, dtype=np.int64) if removed is None else removed

    @classmethod
    def load(
        cls,
        path: Path,
        kind: str,
        matrix: Tensor,
        ids: IdLookup | None = None,
        removed: npt.NDArray[np.int64] | None = None,
        reduction: Reduction | None = None,
        breadth: int | None = None,
        size: int | None = None,
        device: str = "cpu",
    ) -> FaissIndex:
        """Load an index file whose hash the caller has checked.

        Args:
            path: The file.
            kind: As of the class, as are the others that are not named here.
            size: The file's length in bytes, to map it where FAISS can; None reads it.
            device: "cuda" or "cuda:N" to search there where FAISS can; `place` tells.

        Raises:
            DamagedError: If FAISS cannot read it, or it is not an index of this kind over vectors
                of this shape.
        """
        index = read_index(path, size=size)
        dim = matrix.shape[1] if reduction is None else reduction.dim
        expected = (kind, len(matrix), dim)
        found = (kind_of(index), index.ntotal, index.d)
        if found != expected or index.metric_type != load_faiss().METRIC_INNER_PRODUCT:
            raise DamagedError(
                "an index file is not the one that the manifest names",
                where=path,
                expected=expected,
                found=found,
                hint=f"Build it anew: lqtse-cache index --kind {kind}",
            )
        gpu = None
        if device.startswith("cuda"):
            gpu = clone_to_gpu(load_faiss(), index, kind, device)
        return cls(index, kind, matrix, ids, removed, reduction, breadth, gpu)

    @property
    def place(self) -> str:
        """Where it is searched, and why there; "" where nothing but the CPU was asked for."""
        return self._gpu.told if self._gpu is not None else ""

    def __len__(self) -> int:
        """The number of rows that a search can return."""
        return len(self._matrix) - len(self._removed)

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the k best rows for each query, as `ExactIndex.search` does.

        "flat" is exact, ties included; the others may miss rows, and their scores are exact.

        Shape:
            queries [B, D] -> scores [B, K] float32, rows [B, K] int64.

        Raises:
            UsageError, MismatchError, DataError: As `ExactIndex.search`.
            DamagedError: If the index cannot find k rows although the cache has them.
        """
        check_queries(queries, self._matrix.shape[1])
        check_k(k, len(self))
        queries = queries.cpu().float().contiguous()
        width = k + SLACK if self._kind == "flat" else max(2 * k, SHORTLIST)
        return self._search(queries, k, min(len(self._matrix), width))

    def _search(self, queries: Tensor, k: int, width: int) -> tuple[Tensor, Tensor]:
        products, candidates = self._shortlist(queries, width)
        final = rescore(self._matrix, queries, candidates)
        scores, rows = order(final, candidates, k, self._ids)
        everything = width == len(self._matrix)
        unsure = rows[:, -1] < 0
        if everything and bool(unsure.any()):
            query = int(unsure.nonzero()[0])
            raise DamagedError(
                f"the {self._kind} index cannot find {k} captions",
                where=f"query {query}",
                found=int((rows[query] >= 0).sum()),
                hint="Build it anew with lqtse-cache index, or search with --kind exact",
            )
        if not everything:
            if self._kind == "flat":
                unsure = unsure | (products[:, -1] + product_error(queries) >= scores[:, -1])
            again = unsure.nonzero().flatten()
            if len(again):
                wider = min(len(self._matrix), 4 * width)
                scores[again], rows[again] = self._search(queries[again], k, wider)
        return scores, rows

    def _shortlist(self, queries: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return products and rows, larger first; row -1 for a miss or a removed caption."""
        options: dict[str, Any] = {}
        breadth = 0
        if self._kind == "hnsw":
            breadth = max(self.breadth or HNSW_PARAMS["ef_search"], 2 * width)
            options["params"] = load_faiss().SearchParametersHNSW(efSearch=breadth)
        elif self._kind in CELLS:
            # A list wider than usual means that cells ran out of rows: visit more of them.
            wider = max(1, width // max(SHORTLIST, 1))
            breadth = min(self._index.nlist, (self.breadth or self._index.nprobe) * wider)
            if width == len(self._matrix):
                breadth = self._index.nlist
            options["params"] = load_faiss().SearchParametersIVF(nprobe=breadth)
        asked = queries.numpy()
        if self._reduction is not None:
            asked = self._reduction.map_queries(asked)
        index = self._index
        if self._gpu is not None and max(width, breadth) <= MOST_ON_GPU:
            index = self._gpu.index or index
        products, rows = index.search(asked, width, **options)
        if rows.max(initial=-1) >= len(self._matrix):
            raise DamagedError(
                "the index names a row that the cache does not have", found=int(rows.max())
            )
        rows[np.isin(rows, self._removed)] = -1
        return torch.from_numpy(products), torch.from_numpy(rows)
