"""Columns of text for Parquet files, made without what `pyarrow.array` brings along.

`pyarrow.array` asks pandas whether its input is one of its own, and so loads pandas, if it is
installed, into any process that writes a few captions: 50 MB and a second. These functions hand
Arrow its buffers instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain

import numpy as np
import pyarrow as pa


def text_column(values: Sequence[str]) -> pa.StringArray:
    """Strings as an Arrow column; none may be missing.

    Raises:
        ValueError: If they take 2 GiB or more, which a column of Arrow's `string` cannot hold.
    """
    encoded = [value.encode() for value in values]
    data = pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(encoded), _offsets(map(len, encoded)), data)


def texts_column(values: Sequence[Sequence[str]]) -> pa.ListArray:
    """Lists of strings as an Arrow column; none may be missing.

    Raises:
        ValueError: As `text_column`.
    """
    inner = text_column(list(chain.from_iterable(values)))
    offsets = _offsets(map(len, values))
    return pa.Array.from_buffers(
        pa.list_(pa.string()), len(values), [None, offsets], children=[inner]
    )


def text_table(rows: Sequence[Sequence[str | Sequence[str]]], schema: pa.Schema) -> pa.Table:
    """Rows of strings and lists of strings as a table.

    Args:
        rows: One value for each column of the schema, in its order; one row at least.
        schema: Columns of `string` and `list<string>`.
    """
    columns = [
        texts_column(values) if pa.types.is_list(field.type) else text_column(values)
        for values, field in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    return pa.table(columns, schema=schema)


def _offsets(lengths: map[int]) -> pa.Buffer:
    ends = list(accumulate(lengths, initial=0))
    if ends[-1] >= 2**31:
        raise ValueError(f"a column of text must be below 2 GiB, got {ends[-1]} bytes")
    return pa.py_buffer(np.asarray(ends, dtype=np.int32))
