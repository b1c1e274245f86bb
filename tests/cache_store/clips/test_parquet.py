"""Parquet manifests: columns, embeddings of any float type, and damage that is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.clips import parquet
from cache_store.errors import DamagedError, DataError, EmptyInputError

ROWS = 50


def save(folder: Path, embedding: Any = None, **columns: Any) -> Path:
    data: dict[str, Any] = columns or {"path": [f"{i}.wav" for i in range(ROWS)]}
    if embedding is not None:
        data["embedding"] = embedding
    table = pa.table(data).replace_schema_metadata({"lqtse.space": "some model"})
    pq.write_table(table, folder / "m.parquet", write_page_checksum=True)
    return folder / "m.parquet"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
def test_reads_embeddings_of_any_float_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, kind: str
) -> None:
    monkeypatch.setattr(parquet, "_BATCH_ROWS", 7)  # several batches, the last one short
    values = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(dtype)
    arrow = pa.from_numpy_dtype(values.dtype)
    types = {"fixed": pa.list_(arrow, 8), "list": pa.list_(arrow), "large": pa.large_list(arrow)}
    path = save(tmp_path, pa.array(list(values), type=types[kind]))
    columns, name_row, matrix, metadata = parquet.read_parquet(path)
    assert matrix is not None
    np.testing.assert_array_equal(matrix, values.astype(np.float32))
    assert matrix.dtype == np.float32
    assert list(columns) == ["path"]
    assert metadata["lqtse.space"] == "some model"
    assert name_row(0) == "row 1"


def test_embeddings_can_be_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path, [["not", "numbers"]] * ROWS)
    assert parquet.read_parquet(path, embeddings=False)[2] is None


@pytest.mark.parametrize(
    ("embedding", "why"),
    [
        ([[1.0, 2.0]] * 30 + [[1.0]] + [[1.0, 2.0]] * 19, "row 31 has an embedding of another"),
        ([[1.0, 2.0]] * 49 + [None], "row 50 has an embedding of another length, or none"),
        ([None] + [[1.0, 2.0]] * 49, "row 1 has an embedding of another length, or none"),
        (["text"] * ROWS, "not made of vectors"),
        ([[1, 2]] * ROWS, "not made of vectors"),
        ([[]] * ROWS, "not made of vectors|zero"),
    ],
)
def test_embeddings_that_are_none(tmp_path: Path, embedding: Any, why: str) -> None:
    with pytest.raises(DataError, match=why):
        parquet.read_parquet(save(tmp_path, embedding))


def test_missing_fixed_size_embedding_is_named(tmp_path: Path) -> None:
    column = pa.array([[1.0, 0.0]] * 49 + [None], type=pa.list_(pa.float32(), 2))
    # pyarrow before 26 finds it by itself, and counts from 0.
    with pytest.raises(DataError, match=r"row 50|index 50"):
        parquet.read_parquet(save(tmp_path, column))


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(EmptyInputError):
        parquet.read_parquet(save(tmp_path, path=pa.array([], pa.string())))


def test_a_truncated_file_is_damaged(tmp_path: Path) -> None:
    path = save(tmp_path, np.eye(ROWS, 8).tolist())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedError, match="Parquet"):
        parquet.read_parquet(path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = save(tmp_path, np.random.default_rng(0).normal(size=(ROWS, 64)).tolist())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        parquet.read_parquet(path)
