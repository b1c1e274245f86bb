from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cache_store.idset import IdSet

ids = st.lists(st.binary(min_size=16, max_size=16).map(bytes.hex), max_size=30, unique=True)


def column(values: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


@given(st.lists(ids, max_size=5))
def test_it_is_a_set(blocks: list[list[str]]) -> None:
    found, oracle = IdSet(), set[str]()
    for block in blocks:
        assert found.has(column(block)).tolist() == [one in oracle for one in block]
        found.add(column([one for one in block if one not in oracle]))
        oracle |= set(block)
        assert len(found) == len(oracle)
