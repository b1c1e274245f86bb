"""Look up captions by their row, reading only the files and columns concerned.

Columns that were read are kept, the least recently used ones dropped beyond a fixed size: so a
million captions answer from memory, and a billion do not fill it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cache_store.errors import UsageError
from cache_store.manifest import FileEntry
from cache_store.shards import read_table

_KEEP_BYTES = 256 << 20


class RowReader:
    """The text columns of a list of Parquet files, seen as one table.

    Args:
        folder: The cache.
        files: The files in the order of their rows.
        keep_bytes: How much to keep in memory.
    """

    def __init__(
        self, folder: Path, files: Sequence[FileEntry], keep_bytes: int = _KEEP_BYTES
    ) -> None:
        self._folder = folder
        self._files = tuple(files)
        self._ends = np.cumsum([entry.rows for entry in files], dtype=np.int64)
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[tuple[int, str], pa.Array] = OrderedDict()

    def __len__(self) -> int:
        """N: rows of all files."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, column: str, rows: npt.ArrayLike) -> Any:
        """Return the values of a column in these rows, as lists nested like `rows`.

        Raises:
            UsageError: If a row is not from 0 to N − 1; -1 is no row, not the last one.
            DamagedError: If a file is missing or damaged.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        flat = wanted.reshape(-1)
        if flat.size and (flat.min() < 0 or flat.max() >= len(self)):
            bad = flat[(flat < 0) | (flat >= len(self))][0]
            raise UsageError("no such row", expected=f"0 to {len(self) - 1}", found=int(bad))
        values = np.empty(flat.size, dtype=object)
        files = np.searchsorted(self._ends, flat, side="right")
        for file in np.unique(files):
            mine = np.flatnonzero(files == file)
            start = self._ends[file] - self._files[file].rows
            taken = self._column(int(file), column).take(pa.array(flat[mine] - start)).to_pylist()
            for place, value in zip(mine, taken, strict=True):
                values[place] = value
        return values.reshape(wanted.shape).tolist()

    def column(self, column: str) -> pa.ChunkedArray:
        """Return a whole column, one chunk a file."""
        return pa.chunked_array([self._column(file, column) for file in range(len(self._files))])

    def _column(self, file: int, column: str) -> pa.Array:
        key = (file, column)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        table = read_table(self._folder / self._files[file].path, [column])
        # One chunk; large texts, so that no offset overflows.
        array = table.column(column).combine_chunks()
        self._kept[key] = array
        while len(self._kept) > 1 and self._size() > self._keep_bytes:
            self._kept.popitem(last=False)
        return array

    def _size(self) -> int:
        return sum(array.nbytes for array in self._kept.values())
