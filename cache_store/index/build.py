"""Build a cache's indexes: the memory-mapped matrix always, and a FAISS index where it helps.

Both are derived from the data and name the data that they were built from, so that an older one is
never used for newer rows. Recall of an approximate index is measured against the exact search when
it is built; with queries of the user's own audio where there are some, since those lie elsewhere
than captions do and find different cells.

Cost: one pass over the data for the matrix; memory is one data file, and for FAISS its index.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cache_store.checks import find_bad_embedding
from cache_store.errors import DamagedError, DataError, UsageError
from cache_store.index.arrays import write_header, writer_of_array
from cache_store.index.auto import suits
from cache_store.index.cells import BLOCK_ROWS, fill_cells, train_cells
from cache_store.index.faiss_build import build
from cache_store.index.faiss_files import read_index, writer_of
from cache_store.index.faiss_index import FaissIndex
from cache_store.index.kinds import (
    APPROXIMATE,
    BREADTH,
    CELLS,
    FAISS_KINDS,
    HNSW_PARAMS,
    faiss_installed,
    kind_of,
)
from cache_store.index.parts import Share, write_matrix
from cache_store.index.reduction import REDUCED_DIM, fit_reduction
from cache_store.index.tuning import Asked, Kept, breadths, tune
from cache_store.manifest import CENTRING, IndexEntry, Manifest, check_content
from cache_store.memory import available_memory
from cache_store.opening import map_matrix
from cache_store.retrieval import as_tensor
from cache_store.writer import CacheWriter

BUILD_KINDS = ("auto", "exact", *FAISS_KINDS)
TARGET_RECALL = 0.95
_SAMPLE_ROWS = 131_072  # rows that cells and reduction are learned from
_SAMPLE_PURPOSE = 0x5A3C1E


@dataclass(frozen=True)
class BuildReport:
    """What was built.

    Attributes:
        kind: "exact", "flat", "hnsw", "ivf" or "ivfpq".
        reason: Why that kind.
        rows: N.
        dim: D.
        files: Paths relative to the cache.
        bytes: Their size together.
        seconds: How long it took.
        recall: The share of the exact search's 10 nearest rows that the index finds; None for
            kinds that are exact by construction.
        recall_queries: What was asked to measure it: "captions" or "given", "" if not measured.
        recall_at_1: How often it finds the nearest row.
        breadth: The breadth of search that reaches the recall asked for, or the widest tried.
        breadth_name: "ef_search" or "nprobe".
        curve: What was measured at each breadth.
    """

    kind: str
    reason: str
    rows: int
    dim: int
    files: tuple[str, ...]
    bytes: int
    seconds: float
    recall: float | None = None
    recall_queries: str = ""
    recall_at_1: float | None = None
    breadth: int | None = None
    breadth_name: str = ""
    curve: tuple[dict[str, float], ...] = ()


def build_index(
    writer: CacheWriter,
    kind: str = "auto",
    *,
    queries: npt.NDArray[np.float32] | None = None,
    target: float = TARGET_RECALL,
    keep_older: bool = False,
    share: Share | None = None,
    kept: Kept | None = None,
) -> BuildReport:
    """Build an index of the cache's data and publish it.

    Indexes of other kinds stay if they are of the same data; older ones are dropped, by default.
    The means of both modalities always stay: `index.means` tells whether they are older.

    Args:
        writer: The cache, open for writing.
        kind: "exact" (the matrix only), "flat", "hnsw", "ivf", "ivfpq", or "auto".
        queries: Audio embeddings: half of them shape an approximate index, the other half measure
            its recall; by default captions of the cache.
        target: The recall@10 to tune an approximate index to.
        keep_older: Keep older ones in the manifest, unused: for who builds them next, so that a
            run that is killed between them still knows which there were.
        kept: What an older index was tuned to with queries that are not given now; then the new one
            is not tuned.
        share: Has the work that can be cut done by workers; None does it here. The index is the
            same.

    Shape:
        queries [B, D].

    Raises:
        UsageError: For an unknown kind, or a recall that is none.
        DataError: If nothing is embedded yet.
        MissingDependencyError: If the kind needs FAISS and it is not installed.
        DamagedError: If a data file is damaged.
        StorageError: If it cannot be written.
    """
    begin = time.monotonic()
    manifest = writer.current
    if manifest.space is None:
        raise DataError(
            "the cache holds no embeddings",
            where=writer.path,
            hint=f"Run lqtse-cache embed {writer.path}",
        )
    check_request(kind, target)
    width = manifest.space.dim, np.dtype(manifest.dtype).itemsize
    kind, reason = choose_kind(kind, manifest.rows, *width)
    fresh = {entry.kind: entry for entry in manifest.indexes if manifest.is_fresh(entry)}
    if "exact" in fresh:  # what is built from it would pass on a flipped bit
        check_content(writer.path, fresh["exact"].files[0])
    else:
        fresh["exact"] = _build_matrix(writer, manifest, manifest.space.dim, share)
    if kind != "exact":
        path = writer.path / fresh["exact"].files[0].path
        fresh[kind] = _build_faiss(writer, manifest, kind, path, queries, target, kept, share)
    step: dict[str, Any] = {"step": "index", "kind": kind, "rows": manifest.rows}
    listed = {**({entry.kind: entry for entry in manifest.indexes} if keep_older else {}), **fresh}
    writer.publish(
        indexes=[
            *(listed[name] for name in BUILD_KINDS if name in listed),
            *(entry for entry in manifest.indexes if entry.kind == CENTRING),
        ],
        step={**step, **{k: v for k, v in fresh[kind].params.items() if k != "curve"}},
    )
    files = [file for name in {"exact", kind} for file in fresh[name].files]
    params = fresh[kind].params
    return BuildReport(
        kind,
        reason,
        manifest.rows,
        manifest.space.dim,
        tuple(sorted(file.path for file in files)),
        sum(file.bytes for file in files),
        time.monotonic() - begin,
        params.get("recall_at_10"),
        params.get("recall_queries", ""),
        params.get("recall_at_1"),
        params.get(BREADTH.get(kind, "")),
        BREADTH.get(kind, ""),
        tuple(params.get("curve", ())),
    )


def check_request(kind: str, target: float) -> None:
    """Check what `build_index` is asked for, before anything is computed for it.

    Raises:
        UsageError: For an unknown kind, or a recall that is none.
    """
    if kind not in BUILD_KINDS:
        raise UsageError("unknown kind of index", expected=", ".join(BUILD_KINDS), found=repr(kind))
    if not 0 < target <= 1:
        raise UsageError("bad recall", expected="above 0, at most 1", found=target)


def choose_kind(kind: str, rows: int, dim: int, itemsize: int) -> tuple[str, str]:
    """Return the kind to build, and why.

    Args:
        kind: What was asked for.
        rows: N.
        dim: D.
        itemsize: Bytes of a stored value.
    """
    if kind != "auto":
        return kind, "asked for"
    kind, reason = suits(rows, dim, itemsize, available_memory())
    if kind != "exact" and not faiss_installed():
        return "exact", f"{reason}, but FAISS is not installed"
    return kind, reason


def _build_matrix(
    writer: CacheWriter, manifest: Manifest, dim: int, share: Share | None
) -> IndexEntry:
    shape, dtype = (manifest.rows, dim), np.dtype(manifest.dtype)

    def write(path: Path) -> None:
        # Not through a memory map: on a full disk that kills the process instead of failing.
        with path.open("wb") as file:
            write_header(file, shape, dtype)
            write_matrix(file, writer.path, manifest.data, share)

    def check(path: Path) -> None:
        matrix = map_matrix(path)
        if (matrix.shape, matrix.dtype) != (shape, dtype) or find_bad_embedding(matrix):
            raise DamagedError("what was written is not what was read back", where=path)

    file = writer.write_index_file(write, ".npy", manifest.rows, check)
    return IndexEntry("exact", (file,), manifest.data_hash())


def _build_faiss(
    writer: CacheWriter,
    manifest: Manifest,
    kind: str,
    rows: Path,
    queries: npt.NDArray[np.float32] | None,
    target: float,
    kept: Kept | None,
    share: Share | None,
) -> IndexEntry:
    """Build one index; memory is the index, a sample of the rows, and a block."""
    matrix = map_matrix(rows)
    asked = Asked.of(matrix, queries)
    generator = np.random.default_rng([0, _SAMPLE_PURPOSE])
    chosen = generator.choice(len(matrix), min(_SAMPLE_ROWS, len(matrix)), replace=False)
    sample = matrix[np.sort(chosen)] if kind in CELLS else matrix[:0]
    reduction, files = None, []
    if kind in CELLS and matrix.shape[1] > REDUCED_DIM:
        reduction = kept.reduction if kept else None
        reduction = reduction or fit_reduction(sample, asked.fitting)
        sample = reduction.map_rows(sample)
    if kind in CELLS:
        index = train_cells(kind, np.asarray(sample, dtype=np.float32), len(matrix))
        fill_cells(index, rows, reduction, share)
    else:
        index = build(kind, matrix.shape[1], _blocks(matrix))

    def check(path: Path) -> None:
        again = read_index(path)
        if (kind_of(again), again.ntotal) != (kind, len(matrix)):
            raise DamagedError("what was written is not what was read back", where=path)

    params: dict[str, Any] = {}
    if kind in APPROXIMATE:
        params = {
            **(HNSW_PARAMS if kind == "hnsw" else {"cells": index.nlist}),
            **({} if reduction is None else {"reduced_dim": reduction.dim}),
        }
        tried = breadths(kind, index)
        if kept is not None:
            params |= kept.to_params(BREADTH[kind], tried[-1])
        else:
            found = FaissIndex(index, kind, as_tensor(matrix), reduction=reduction)
            tuned = tune(found, as_tensor(matrix), asked.measuring, tried, target, own=asked.own)
            params |= {**tuned.to_params(BREADTH[kind], target), "recall_queries": asked.name}
    files.append(writer.write_index_file(writer_of(index), ".faiss", len(matrix), check))
    if reduction is not None:
        array = reduction.to_array()
        files.append(writer.write_index_file(writer_of_array(array), ".npy", len(array)))
    return IndexEntry(kind, tuple(files), manifest.data_hash(), params)


def _blocks(matrix: np.ndarray[Any, Any]) -> Iterator[npt.NDArray[np.float32]]:
    for start in range(0, len(matrix), BLOCK_ROWS):
        yield np.asarray(matrix[start : start + BLOCK_ROWS], dtype=np.float32)
