from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.errors import DamagedError, DataError, UsageError
from pipeline.caption_files import declared_space, read_blocks
from tests.pipeline.materials import DIM, captions, unit_vector, write_vectors


@pytest.mark.parametrize(
    ("vectors", "place"),
    [
        ([[1.0, 0.0], None, [0.0, 1.0]], "row 2"),
        ([[1.0, 0.0], [1.0], [0.0, 1.0]], "row 2"),
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0, 0.0]], "row 3"),
    ],
)
@pytest.mark.parametrize("block", [2, 8192])
def test_a_missing_or_narrower_embedding_is_named_by_its_row(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    vectors: list[list[float] | None],
    place: str,
    block: int,
) -> None:
    monkeypatch.setattr("pipeline.caption_files.parquet.BLOCK_ROWS", block)
    source = write_vectors(tmp_path / "in.parquet", captions(3), vectors, listed=True)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=place):
        list(read_blocks(source, embeddings=True))


def test_a_null_inside_an_embedding_is_named_by_its_row(tmp_path: Path) -> None:
    embedding = pa.array([[1.0, 0.0], [0.0, None]], pa.list_(pa.float32(), 2))
    table = pa.table({"caption": ["a", "b"], "embedding": embedding})
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(DataError, match="row 2"):
        list(read_blocks(tmp_path / "in.parquet", embeddings=True))


@pytest.mark.parametrize("listed", [False, True])
def test_rows_come_with_their_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.setattr("pipeline.caption_files.parquet.BLOCK_ROWS", 4)
    source = write_vectors(
        tmp_path / "in.parquet", captions(10), listed=listed, fold=list(range(10))
    )
    blocks = list(read_blocks(source, embeddings=True))
    assert [block.first for block in blocks] == [1, 5, 9]
    assert [n for block in blocks for n in block.columns["fold"]] == list(range(10))
    found = np.concatenate([block.embeddings for block in blocks if block.embeddings is not None])
    assert (found.shape, found.dtype) == ((10, DIM), np.float32)
    np.testing.assert_array_equal(found, np.stack([unit_vector(text) for text in captions(10)]))


@pytest.mark.parametrize("kind", [pa.float16(), pa.float64()])
def test_any_float_is_read_as_float32(tmp_path: Path, kind: pa.DataType) -> None:
    embedding = pa.array([[0.5, -0.25], [1.0, 0.0]], pa.list_(kind, 2))
    pq.write_table(
        pa.table({"caption": ["a", "b"], "embedding": embedding}), tmp_path / "x.parquet"
    )
    (block,) = read_blocks(tmp_path / "x.parquet", embeddings=True)
    assert block.embeddings is not None
    np.testing.assert_array_equal(block.embeddings, np.float32([[0.5, -0.25], [1.0, 0.0]]))


def test_embeddings_are_read_only_where_they_are_asked_for(tmp_path: Path) -> None:
    source = write_vectors(tmp_path / "in.parquet", captions(2))
    (block,) = read_blocks(source)
    assert block.embeddings is None and list(block.columns) == ["caption"]


def test_a_column_that_is_no_text_or_no_vector_is_refused(tmp_path: Path) -> None:
    table = pa.table({"caption": [["a"]], "text": ["a"], "embedding": [1.0]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UsageError, match=r"has to be text.*list"):
        list(read_blocks(tmp_path / "x.parquet"))
    with pytest.raises(DataError, match="no embedding"):
        list(read_blocks(tmp_path / "x.parquet", column="text", embeddings=True))
    pq.write_table(table.drop(["embedding"]), tmp_path / "y.parquet")
    with pytest.raises(UsageError, match="no column 'embedding'"):
        list(read_blocks(tmp_path / "y.parquet", column="text", embeddings=True))


def test_a_flipped_bit_is_damage(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    table = pa.table({"caption": captions(500)})
    pq.write_table(table, source, write_page_checksum=True, use_dictionary=False)
    data = bytearray(source.read_bytes())
    data[len(data) // 2] ^= 4
    source.write_bytes(data)
    with pytest.raises(DamagedError, match=r"in\.parquet"):
        list(read_blocks(source))


def test_the_space_that_the_file_declares(tmp_path: Path) -> None:
    assert declared_space(write_vectors(tmp_path / "a.parquet", captions(1))) == ("elsewhere", None)
    bare = write_vectors(tmp_path / "b.parquet", captions(1), space=None)
    assert declared_space(bare) == (None, None)
