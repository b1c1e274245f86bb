"""FAISS indexes as files, and what they hold.

A file that is searched is mapped where this FAISS can (1.11 and later, every kind here): opening it
then costs nothing, memory holds the pages that searches touch, which the system can take back, and
processes share them. What FAISS cannot map it reads.

Letters: N rows, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cache_store.errors import DamagedError
from cache_store.guard import check_length
from cache_store.index.kinds import kind_of, load_faiss


def writer_of(index: Any) -> Callable[[Path], None]:
    """Return a function that writes the index to a path.

    The file is Python's, since FAISS's own writer turns a full disk into an error without a number.
    """

    def write(path: Path) -> None:
        faiss = load_faiss()
        with path.open("wb") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))

    return write


def read_index(path: Path, *, size: int | None = None) -> Any:
    """Read an index file, or map it.

    Args:
        path: The file.
        size: Its length in bytes, to map it where FAISS can; None reads it. Only for a file whose
            hash was checked. Nothing can be added to a mapped index, and touching it after its file
            was cut would kill the process: see `guard.check_length`.

    Raises:
        DamagedError: If FAISS cannot read it, or it has another length.
        MissingDependencyError: If FAISS is not installed.
    """
    faiss = load_faiss()
    if size is not None:
        check_length(path, size)  # FAISS lets the last array's last bytes be missing
    flags = 0 if size is None else getattr(faiss, "IO_FLAG_MMAP_IFC", 0)
    try:
        return faiss.read_index(str(path), flags)
    except (RuntimeError, MemoryError) as error:
        raise DamagedError(
            "an index file is damaged", where=path, found=str(error).split(": Error: ")[-1]
        ) from error


def vectors_of(index: Any, start: int, count: int) -> npt.NDArray[np.float32]:
    """Return the vectors that the index holds for `count` rows from `start` on: [count, D]."""
    if kind_of(index) == "ivf":
        index.make_direct_map()  # IVF files keep rows by cell
    return index.reconstruct_n(start, count)
