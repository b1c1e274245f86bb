from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from cache_store.columns import text_column, text_table, texts_column
from cache_store.schema import captions_schema

# What UTF-8 can spell: no half of a surrogate pair.
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(texts))
def test_a_column_of_text_is_what_arrow_itself_makes(values: list[str]) -> None:
    column = text_column(values)
    column.validate(full=True)
    assert column.equals(pa.array(values, pa.string()))


@given(st.lists(st.lists(texts)))
def test_a_column_of_lists_is_what_arrow_itself_makes(values: list[list[str]]) -> None:
    column = texts_column(values)
    column.validate(full=True)
    assert column.equals(pa.array(values, pa.list_(pa.string())))


@given(st.lists(st.tuples(texts, texts, st.lists(texts), texts, texts, texts), min_size=1))
def test_rows_become_a_table_with_the_schema_and_its_metadata(rows: list[tuple[object]]) -> None:
    table = text_table(rows, captions_schema())
    assert table.schema.equals(captions_schema(), check_metadata=True)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


def test_pandas_stays_out_of_the_process() -> None:
    code = (
        "import sys\n"
        "from cache_store.columns import text_table\n"
        "from cache_store.schema import captions_schema\n"
        "text_table([('a', 'b', ['c'], 'd', 'e', 'f')], captions_schema())\n"
        "raise SystemExit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
