"""FAISS indexes: Flat (every row), HNSW (a graph), IVF (cells) and IVF-PQ (cells of codes).

Cells hold rows reduced to what tells them apart for the queries (`reduction`), where the vectors
are long; a graph does not, since rows of unequal length are hard to reach in it. FAISS only makes
the short list; the final scores are those of the stored vectors (`rerank`), so its results and
those of the exact search are the same kind of thing. It accepts and returns nonsense in silence
(NaN queries, k beyond its size, id -1 for a miss, files with flipped bits): hence the guards here,
and the hash that the caller checks before a file is loaded.

Letters: B queries, N rows, D embedding size, K neighbours, W width of the short list.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache_store.errors import DamagedError, MissingDependencyError, UsageError
from cache_store.index.exact import check_k, check_queries
from cache_store.index.reduction import Reduction
from cache_store.index.rerank import IdLookup, order, product_error, rescore

SLACK = 16  # rows of the short list beyond k
FAISS_KINDS = ("flat", "hnsw", "ivf", "ivfpq")
CELLS = ("ivf", "ivfpq")
APPROXIMATE = ("hnsw", *CELLS)
# FAISS's own defaults for M and the build, from its HNSW example; a wider search costs little and
# recall is measured when the index is built.
HNSW_PARAMS = {"m": 32, "ef_construction": 200, "ef_search": 128}
BREADTH = {"hnsw": "ef_search", "ivf": "nprobe", "ivfpq": "nprobe"}  # what is tuned
SHORTLIST = (
    64  # rows that an approximate index names at least; the stored vectors decide among them
)
_CODE_BITS = 8
_TRAIN_ROUNDS = 10
_SEED = 1234


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
    ) -> None:
        self._index = index
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
    ) -> FaissIndex:
        """Load an index file whose hash the caller has checked.

        Raises:
            DamagedError: If FAISS cannot read it, or it is not an index of this kind over vectors
                of this shape.
        """
        index = read_index(path)
        dim = matrix.shape[1] if reduction is None else reduction.dim
        expected = (kind, len(matrix), dim)
        found = (kind_of(index), index.ntotal, index.d)
        if found != expected or index.metric_type != _faiss().METRIC_INNER_PRODUCT:
            raise DamagedError(
                "an index file is not the one that the manifest names",
                where=path,
                expected=expected,
                found=found,
                hint=f"Build it anew: lqtse-cache index --kind {kind}",
            )
        return cls(index, kind, matrix, ids, removed, reduction, breadth)

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
        options = {}
        if self._kind == "hnsw":
            breadth = max(self.breadth or HNSW_PARAMS["ef_search"], 2 * width)
            options["params"] = _faiss().SearchParametersHNSW(efSearch=breadth)
        elif self._kind in CELLS:
            # A list wider than usual means that cells ran out of rows: visit more of them.
            wider = max(1, width // max(SHORTLIST, 1))
            breadth = min(self._index.nlist, (self.breadth or self._index.nprobe) * wider)
            if width == len(self._matrix):
                breadth = self._index.nlist
            options["params"] = _faiss().SearchParametersIVF(nprobe=breadth)
        asked = queries.numpy()
        if self._reduction is not None:
            asked = self._reduction.map_queries(asked)
        products, rows = self._index.search(asked, width, **options)
        if rows.max(initial=-1) >= len(self._matrix):
            raise DamagedError(
                "the index names a row that the cache does not have", found=int(rows.max())
            )
        rows[np.isin(rows, self._removed)] = -1
        return torch.from_numpy(products), torch.from_numpy(rows)


def build(
    kind: str,
    dim: int,
    blocks: Iterable[npt.NDArray[np.float32]],
    sample: npt.NDArray[np.float32] | None = None,
    rows: int = 0,
) -> Any:
    """Return a FAISS index over the rows of all blocks, in order.

    Args:
        kind: One of `FAISS_KINDS`.
        dim: D.
        blocks: The vectors, float32 [n, D] each.
        sample: Rows drawn at random, to find cells with (ivf, ivfpq).
        rows: N, where there is a sample.

    Raises:
        UsageError: For another kind.
        MissingDependencyError: If FAISS is not installed.
    """
    faiss = _faiss()
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, HNSW_PARAMS["m"], faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = HNSW_PARAMS["ef_construction"]
        index.hnsw.efSearch = HNSW_PARAMS["ef_search"]
    elif kind in CELLS and sample is not None:
        return _build_cells(kind, dim, blocks, sample, rows)
    else:
        raise UsageError("unknown kind of index", expected=", ".join(FAISS_KINDS), found=repr(kind))
    for block in blocks:
        index.add(np.ascontiguousarray(block))
    return index


def cells_for(rows: int, sample: int) -> int:
    """Return how many cells suit so many rows: about 2√N, and 30 rows of the sample in each."""
    return max(1, min(round(2 * rows**0.5), sample // 30))


def _build_cells(
    kind: str,
    dim: int,
    blocks: Iterable[npt.NDArray[np.float32]],
    sample: npt.NDArray[np.float32],
    rows: int,
) -> Any:
    """Cells by Euclidean distance, where scores of one cell's rows are alike; asked by product."""
    faiss = _faiss()
    sample = np.ascontiguousarray(sample)
    cells = cells_for(rows, len(sample))
    means = faiss.Kmeans(dim, cells, niter=_TRAIN_ROUNDS, seed=_SEED)
    means.train(sample)
    nearest, asked = faiss.IndexFlatL2(dim), faiss.IndexFlatIP(dim)
    nearest.add(means.centroids)
    asked.add(means.centroids)
    metric = faiss.METRIC_INNER_PRODUCT
    pieces = next(n for n in (dim // 2, dim // 3, dim // 4, dim) if n and dim % n == 0)
    if kind == "ivf":
        index = faiss.IndexIVFFlat(asked, dim, cells, metric)
    else:
        bits = min(_CODE_BITS, max(1, int(np.log2(max(2, len(sample) // 4)))))
        index = faiss.IndexIVFPQ(asked, dim, cells, pieces, bits, metric)
        index.pq.cp.niter = _TRAIN_ROUNDS
    index.train(sample)
    start = 0
    for block in blocks:
        block = np.ascontiguousarray(block)
        names = np.arange(start, start + len(block), dtype=np.int64)
        cell = np.ascontiguousarray(nearest.search(block, 1)[1][:, 0])
        pointers = (faiss.swig_ptr(array) for array in (block, names, cell))
        index.add_core(len(block), *pointers)
        start += len(block)
    return index


def writer_of(index: Any) -> Callable[[Path], None]:
    """Return a function that writes the index to a path.

    The file is Python's, since FAISS's own writer turns a full disk into an error without a number.
    """

    def write(path: Path) -> None:
        faiss = _faiss()
        with path.open("wb") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))

    return write


def read_index(path: Path) -> Any:
    """Read an index file.

    Raises:
        DamagedError: If FAISS cannot read it.
        MissingDependencyError: If FAISS is not installed.
    """
    faiss = _faiss()
    try:
        return faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise DamagedError(
            "an index file is damaged", where=path, found=str(error).split(": Error: ")[-1]
        ) from error


def kind_of(index: Any) -> str:
    """Return one of `FAISS_KINDS`, or FAISS's name of another kind."""
    names = {
        "IndexFlatIP": "flat",
        "IndexFlat": "flat",
        "IndexHNSWFlat": "hnsw",
        "IndexIVFFlat": "ivf",
        "IndexIVFPQ": "ivfpq",
    }
    name = type(index).__name__
    return names.get(name, name)


def vectors_of(index: Any, start: int, count: int) -> npt.NDArray[np.float32]:
    """Return the vectors that the index holds for `count` rows from `start` on: [count, D]."""
    if kind_of(index) == "ivf":
        index.make_direct_map()  # IVF files keep rows by cell
    return index.reconstruct_n(start, count)


def faiss_installed() -> bool:
    """Whether FAISS can be imported here."""
    return importlib.util.find_spec("faiss") is not None


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "FAISS is not installed",
            hint="pip install 'lqtse[cpu]' (or 'lqtse[gpu]'), or search with --kind exact",
        ) from error
    return faiss
