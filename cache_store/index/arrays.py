"""Arrays written to .npy files by Python's own writes.

Numpy hands a file's descriptor to the C library, which turns a full disk into an error without a
number, and is out of sight for whoever watches the disk in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


def write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Write what comes before the values, which follow row by row.

    Args:
        file: At its beginning.
        shape: Of the array.
        dtype: Of its values.
    """
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def writer_of_array(array: np.ndarray[Any, Any]) -> Callable[[Path], None]:
    """Return a function that writes the array to a path."""
    values = np.ascontiguousarray(array)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            write_header(file, values.shape, values.dtype)
            file.write(values.data)

    return write
