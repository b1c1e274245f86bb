"""Indexes made by many workers: parts that are put together in the order of the rows.

What a data file, or a range of rows, adds to an index depends on it alone, and on what was trained
before; so parts may be made anywhere and in any order, and what is made of them is bit for bit what
one process makes. Parts are temporary files beside the index: gone at the end, and swept by the
next writer after a crash.

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

from cache_store.errors import storage_errors
from cache_store.files import TMP_PREFIX
from cache_store.layout import INDEX_FOLDER
from cache_store.manifest import FileEntry, check_file
from cache_store.shards import read_table, to_matrix


@dataclass(frozen=True)
class PartJob:
    """One part to make.

    Attributes:
        data: The file that the rows come from, an absolute path.
        target: The part, an absolute path.
        start: The first of the file's rows to take.
        stop: The first one not to take; 0 takes all there are.
    """

    data: str
    target: str
    start: int = 0
    stop: int = 0


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
        StorageError: If a part cannot be written.
    """
    if share is None:
        for entry in data:
            file.write(_rows(check_file(cache, entry)).data)
        return
    with temporary_files(cache / INDEX_FOLDER, len(data)) as parts:
        jobs = [
            PartJob(str(check_file(cache, entry).absolute()), str(part))
            for entry, part in zip(data, parts, strict=True)
        ]
        share(MatrixRows(), jobs)
        for part in parts:
            with part.open("rb") as made:
                shutil.copyfileobj(made, file, 1 << 20)


@contextmanager
def temporary_files(folder: Path, count: int) -> Iterator[list[Path]]:
    """Names for so many files, absolute; what was made under them is removed at the end."""
    name = uuid.uuid4().hex
    paths = [(folder / f"{TMP_PREFIX}{name}-{number}").absolute() for number in range(count)]
    try:
        yield paths
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _write_rows(job: PartJob) -> None:
    rows = _rows(Path(job.data))
    with storage_errors(job.target), Path(job.target).open("wb") as file:
        file.write(rows.data)


def _rows(data: Path) -> np.ndarray[Any, Any]:
    """The embeddings of a data file, [n, D] as they are stored."""
    return np.ascontiguousarray(to_matrix(read_table(data, ["embedding"]).column("embedding")))
