"""Indexes of cells (ivf, ivfpq): trained on a sample, then filled, here or by workers.

Cells are found by Euclidean distance, where scores of one cell's rows are alike, and asked for by
product. What a row adds depends on the row and the trained index alone, so ranges of rows may be
filled anywhere, into copies of the empty index, and merging these in order gives the bytes of one
process that fills all. Blocks are cut at the same rows everywhere, since a product's last bits may
depend on its shape; on its threads they do not, which share out rows and never a sum.

Letters: N rows, n rows of a block, D embedding size, R reduced size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cache_store.errors import DamagedError, storage_errors
from cache_store.index.arrays import writer_of_array
from cache_store.index.faiss_files import read_index, writer_of
from cache_store.index.kinds import load_faiss
from cache_store.index.parts import PartJob, Share, temporary_files
from cache_store.index.reduction import Reduction, read_reduction
from cache_store.opening import map_matrix

BLOCK_ROWS = 8192  # added at once
PART_ROWS = 16 * BLOCK_ROWS  # that a worker fills in one go: half a second's work, 25 MB of cells
_CODE_BITS = 8
_TRAIN_ROUNDS = 10
_SEED = 1234


def cells_for(rows: int, sample: int) -> int:
    """Return how many cells suit so many rows: about 2√N, and 30 rows of the sample in each."""
    return max(1, min(round(2 * rows**0.5), sample // 30))


def train_cells(kind: str, sample: npt.NDArray[np.float32], rows: int) -> Any:
    """Return an index without rows.

    Args:
        kind: "ivf" or "ivfpq".
        sample: Rows drawn at random, reduced if the index's are.
        rows: N, how many it is for.

    Shape:
        sample [n, R].

    Raises:
        MissingDependencyError: If FAISS is not installed.
    """
    faiss = load_faiss()
    sample = np.ascontiguousarray(sample)
    dim = sample.shape[1]
    cells = cells_for(rows, len(sample))
    means = faiss.Kmeans(dim, cells, niter=_TRAIN_ROUNDS, seed=_SEED)
    means.train(sample)
    asked = faiss.IndexFlatIP(dim)
    asked.add(means.centroids)
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "ivf":
        index = faiss.IndexIVFFlat(asked, dim, cells, metric)
    else:
        pieces = next(n for n in (dim // 2, dim // 3, dim // 4, dim) if n and dim % n == 0)
        bits = min(_CODE_BITS, max(1, int(np.log2(max(2, len(sample) // 4)))))
        index = faiss.IndexIVFPQ(asked, dim, cells, pieces, bits, metric)
        index.pq.cp.niter = _TRAIN_ROUNDS
    index.train(sample)
    return index


def fill_cells(
    index: Any, matrix: Path, reduction: Reduction | None, share: Share | None = None
) -> None:
    """Add all rows of a matrix to a trained index; row r gets the id r, whoever adds it.

    Args:
        index: From `train_cells`.
        matrix: The .npy file of the rows, in the cache's folder of indexes.
        reduction: How the index's vectors come from the rows; None if they are the same.
        share: Has ranges of rows added to copies by workers; None adds them here.

    Raises:
        DamagedError: If a part is not whole.
        StorageError: If a part cannot be written.
    """
    rows = len(map_matrix(matrix))
    if share is None:
        _add(index, matrix, reduction, range(0, rows, BLOCK_ROWS))
        return
    starts = range(0, rows, PART_ROWS)
    with temporary_files(matrix.parent, 2 + len(starts)) as (empty, maps, *parts):
        with storage_errors(empty):
            writer_of(index)(empty)
            if reduction is not None:
                writer_of_array(reduction.to_array())(maps)
        jobs = [
            PartJob(str(matrix.absolute()), str(part), start, min(start + PART_ROWS, rows))
            for start, part in zip(starts, parts, strict=True)
        ]
        share(CellRows(str(empty), None if reduction is None else str(maps), BLOCK_ROWS), jobs)
        _merge(index, jobs)


def _merge(index: Any, jobs: Sequence[PartJob]) -> None:
    for job in jobs:
        part = read_index(Path(job.target))
        if part.ntotal != job.stop - job.start:
            raise DamagedError(
                "a part of the index is not whole",
                where=job.target,
                expected=f"{job.stop - job.start} rows",
                found=part.ntotal,
            )
        index.merge_from(part, 0)


@dataclass(frozen=True)
class CellRows:
    """A range of rows in a copy of a trained index.

    Attributes:
        empty: The file of the index without rows.
        maps: The file of the reduction, None without one.
        block_rows: Rows to add at once.
        threads: CPU threads to add with.
    """

    empty: str
    maps: str | None
    block_rows: int
    threads: int = 1

    def prepare(self) -> Callable[[PartJob], None]:
        """The work, with FAISS set up."""
        load_faiss().omp_set_num_threads(self.threads)
        return self._fill

    def _fill(self, job: PartJob) -> None:
        matrix = Path(job.data)
        dim = map_matrix(matrix).shape[1]
        reduction = read_reduction(Path(self.maps), dim) if self.maps is not None else None
        index = read_index(Path(self.empty))
        _add(index, matrix, reduction, range(job.start, job.stop, self.block_rows))
        with storage_errors(job.target):
            writer_of(index)(Path(job.target))


def _add(index: Any, matrix: Path, reduction: Reduction | None, blocks: range) -> None:
    """Add the rows of a range, a step of it at a time."""
    faiss, rows = load_faiss(), map_matrix(matrix)
    nearest = faiss.IndexFlatL2(index.d)
    nearest.add(index.quantizer.reconstruct_n(0, index.nlist))
    for begin in blocks:
        end = min(begin + blocks.step, blocks.stop)
        block = np.ascontiguousarray(rows[begin:end], dtype=np.float32)
        if reduction is not None:
            block = reduction.map_rows(block)
        names = np.arange(begin, begin + len(block), dtype=np.int64)
        cell = np.ascontiguousarray(nearest.search(block, 1)[1][:, 0])
        pointers = (faiss.swig_ptr(array) for array in (block, names, cell))
        index.add_core(len(block), *pointers)
