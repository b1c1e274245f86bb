"""Indexes filled by many workers: a part for each data file, put together in manifest order.

What a data file adds to an index depends on that file alone, and on the empty index that was
trained before; so parts may be made anywhere and in any order, and what is made of them is bit for
bit what one process makes file by file. Parts are temporary files beside the index: gone at the
end, and swept by the next writer after a crash.

Letters: N rows, n rows of a data file, D embedding size.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from cache_store.errors import DamagedError, storage_errors
from cache_store.files import TMP_PREFIX
from cache_store.index.faiss_index import read_index, writer_of
from cache_store.layout import INDEX_FOLDER
from cache_store.manifest import FileEntry, check_file
from cache_store.shards import read_table, to_matrix

_BLOCK_ROWS = 8192  # added at once, cut within a data file: the same blocks whoever adds them


@dataclass(frozen=True)
class PartJob:
    """One part to make.

    Attributes:
        data: The data file, an absolute path.
        target: The part, an absolute path.
    """

    data: str
    target: str


class PartMaker(Protocol):
    """What makes parts; it is sent to the workers."""

    def prepare(self) -> Callable[[PartJob], None]:
        """Load what the work needs, once a worker, and return the work."""
        ...


Share = Callable[[PartMaker, Sequence[PartJob]], None]
"""Has all jobs done by workers, and returns when they are."""


@dataclass(frozen=True)
class MatrixRows:
    """A data file's rows as they lie in a .npy file, without its header."""

    def prepare(self) -> Callable[[PartJob], None]:
        """The work; there is nothing to load."""
        return _write_rows


@dataclass(frozen=True)
class IvfLists:
    """A data file's rows in a copy of an IVF index.

    Attributes:
        empty: The file of the trained index, without rows.
        threads: CPU threads to add with.
    """

    empty: str
    threads: int = 1

    def prepare(self) -> Callable[[PartJob], None]:
        """The work, with FAISS set up."""
        import faiss

        faiss.omp_set_num_threads(self.threads)
        return self._fill

    def _fill(self, job: PartJob) -> None:
        index = read_index(Path(self.empty))
        _add(index, Path(job.data))
        with storage_errors(job.target):
            writer_of(index)(Path(job.target))


def write_matrix(
    file: BinaryIO, cache: Path, data: Sequence[FileEntry], share: Share | None = None
) -> None:
    """Write the embeddings of all data files, one row after the other.

    Args:
        file: Where to.
        cache: The cache's folder.
        data: The data files, in manifest order.
        share: Has the files read by workers; None reads them here.

    Raises:
        DamagedError: If a data file is damaged.
    """
    if share is None:
        for entry in data:
            file.write(_rows(check_file(cache, entry)).data)
        return
    with _parts(cache, data) as jobs:
        share(MatrixRows(), jobs)
        for job in jobs:
            with Path(job.target).open("rb") as part:
                shutil.copyfileobj(part, file, 1 << 20)


def fill_ivf(index: Any, cache: Path, data: Sequence[FileEntry], share: Share | None = None) -> Any:
    """Add the embeddings of all data files to a trained, empty IVF index, and return it.

    Row r of the cache has the id r, whoever adds it.

    Args:
        index: A FAISS IVF index.
        cache: The cache's folder.
        data: The data files, in manifest order.
        share: Has the files added to copies by workers; None adds them here.

    Raises:
        DamagedError: If a data file is damaged.
        StorageError: If a part cannot be written.
    """
    if share is None:
        for entry in data:
            _add(index, check_file(cache, entry))
        return index
    with _parts(cache, data) as jobs, _temporary(cache, "empty.faiss") as empty:
        with storage_errors(empty):
            writer_of(index)(empty)
        share(IvfLists(str(empty)), jobs)
        for entry, job in zip(data, jobs, strict=True):
            part = read_index(Path(job.target))
            if part.ntotal != entry.rows:
                raise DamagedError(
                    "a part of the index is not whole",
                    where=job.target,
                    expected=f"{entry.rows} rows",
                    found=part.ntotal,
                )
            index.merge_from(part, index.ntotal)
    return index


@contextmanager
def _parts(cache: Path, data: Sequence[FileEntry]) -> Iterator[list[PartJob]]:
    """A job for each data file; their parts are removed at the end."""
    name = uuid.uuid4().hex
    jobs = [
        PartJob(str(check_file(cache, entry).absolute()), str(_place(cache, f"{name}-{number}")))
        for number, entry in enumerate(data)
    ]
    try:
        yield jobs
    finally:
        for job in jobs:
            Path(job.target).unlink(missing_ok=True)


@contextmanager
def _temporary(cache: Path, suffix: str) -> Iterator[Path]:
    path = _place(cache, f"{uuid.uuid4().hex}-{suffix}")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _place(cache: Path, name: str) -> Path:
    return (cache / INDEX_FOLDER / f"{TMP_PREFIX}{name}").absolute()


def _write_rows(job: PartJob) -> None:
    rows = _rows(Path(job.data))
    with storage_errors(job.target), Path(job.target).open("wb") as file:
        file.write(rows.data)


def _rows(data: Path) -> np.ndarray[Any, Any]:
    """The embeddings of a data file, [n, D] as they are stored."""
    return np.ascontiguousarray(to_matrix(read_table(data, ["embedding"]).column("embedding")))


def _add(index: Any, data: Path) -> None:
    rows = _rows(data)
    for begin in range(0, len(rows), _BLOCK_ROWS):
        block: npt.NDArray[np.float32] = rows[begin : begin + _BLOCK_ROWS].astype(np.float32)
        index.add(block)
