from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store import schema, shards
from cache_store.errors import DamagedError
from tests.cache_store.builders import DIM, data_table, flip_bit, unit_rows


@pytest.fixture
def table() -> pa.Table:
    about = schema.data_schema(DIM, "float16", space="s", fingerprint="f")
    return schema.conform(data_table(300), about)


@pytest.fixture
def path(tmp_path: Path, table: pa.Table) -> Path:
    place = tmp_path / "a.parquet"
    shards.write_table(place, table)
    return place


def test_what_is_written_is_read(path: Path, table: pa.Table) -> None:
    assert shards.read_table(path).equals(table)
    assert shards.read_table(path, ["caption"]).column_names == ["caption"]
    footer = shards.read_footer(path)
    assert footer.rows == 300
    assert footer.schema.equals(table.schema)
    assert footer.metadata["lqtse.fingerprint"] == "f"


def test_equal_rows_give_equal_bytes_however_they_are_chunked(
    path: Path, table: pa.Table, tmp_path: Path
) -> None:
    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 150), table.slice(157)])
    again = tmp_path / "b.parquet"
    shards.write_table(again, schema.conform(pieces, table.schema))
    assert again.read_bytes() == path.read_bytes()


def test_pages_are_compressed_and_embeddings_have_no_dictionary(path: Path) -> None:
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    embedding = columns["embedding.list.element"]
    assert not embedding.has_dictionary_page
    assert "BYTE_STREAM_SPLIT" in embedding.encodings
    assert columns["model"].has_dictionary_page


def test_no_flipped_bit_is_read_as_another_value(path: Path, table: pa.Table) -> None:
    # Flips in the footer may concern what we do not read (statistics); values never differ.
    generator = np.random.default_rng(0)
    found = 0
    for bit in generator.integers(0, path.stat().st_size * 8, 300).tolist():
        restore = flip_bit(path, bit)
        try:
            read = shards.read_table(path)
        except DamagedError:
            found += 1
        else:
            assert read.column("embedding").equals(table.column("embedding"))
        restore()
    assert shards.read_table(path).equals(table)
    assert found > 150


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_cut_file_is_damaged(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    for read in (shards.read_table, shards.read_footer):
        with pytest.raises(DamagedError, match=r"damaged: .*a\.parquet"):
            read(path)


def test_a_missing_file_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="missing"):
        shards.read_table(tmp_path / "no.parquet")


def test_batches_are_the_rows_in_order(path: Path, table: pa.Table) -> None:
    batches = list(shards.iter_batches(path, ["id"], rows=70))
    assert [batch.num_rows for batch in batches] == [70, 70, 70, 70, 20]
    ids = [name for batch in batches for name in batch.column(0).to_pylist()]
    assert ids == table.column("id").to_pylist()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_matrices_go_in_and_out(dtype: str) -> None:
    matrix = unit_rows(9, dtype=dtype)
    column = shards.from_matrix(matrix)
    assert (shards.to_matrix(column) == matrix).all()
    sliced = pa.chunked_array([column.slice(2, 3), column.slice(7)])
    assert (shards.to_matrix(sliced) == matrix[[2, 3, 4, 7, 8]]).all()
    assert shards.to_matrix(column.slice(0, 0)).shape == (0, DIM)
    assert shards.to_matrix(pa.chunked_array([], column.type)).shape == (0, DIM)
