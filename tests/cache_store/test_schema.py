from __future__ import annotations

import json

import pyarrow as pa
import pytest

from cache_store import schema
from cache_store.errors import DataError, UsageError
from tests.cache_store.builders import caption_table, data_table


def test_missing_text_columns_are_filled() -> None:
    table = pa.table({"id": ["1"], "caption": ["rain"], "colour": ["blue"]})
    full = schema.conform(table, schema.captions_schema())
    assert full.to_pylist() == [
        {
            "id": "1",
            "caption": "rain",
            "concepts": [],
            "axes": "",
            "model": "",
            "request_id": "",
        }
    ]


def test_a_column_that_cannot_be_made_up_is_asked_for() -> None:
    with pytest.raises(DataError, match="column caption is missing"):
        schema.conform(pa.table({"id": ["1"]}), schema.captions_schema())


def test_empty_cells_are_refused() -> None:
    table = pa.table({"id": ["1", "2"], "caption": ["rain", None]})
    with pytest.raises(DataError, match="column caption holds 1 empty"):
        schema.conform(table, schema.captions_schema())


def test_a_wrong_type_is_named() -> None:
    table = pa.table({"id": ["1"], "caption": ["rain"], "concepts": [7]})
    with pytest.raises(DataError, match="column concepts has the wrong type"):
        schema.conform(table, schema.captions_schema())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_an_embedding_knows_its_width_and_type(dtype: str) -> None:
    table = data_table(2, dim=12, dtype=dtype)
    assert schema.embedding_type(table.schema) == (12, dtype)


def test_other_columns_are_no_embeddings() -> None:
    for column in (pa.array([[1.0]]), pa.array([[1.0]], pa.list_(pa.float64(), 1))):
        with pytest.raises(DataError, match="no usable embedding column"):
            schema.embedding_type(pa.table({"embedding": column}).schema)
    with pytest.raises(DataError, match="no column named embedding"):
        schema.embedding_type(caption_table(1).schema)
    with pytest.raises(UsageError, match="float16 or float32"):
        schema.float_type("bfloat16")


def test_a_file_says_what_it_is() -> None:
    about = schema.data_schema(8, "float16", space="s", fingerprint="f", source="abc")
    assert schema.metadata_of(about) == {
        "lqtse.format": "1",
        "lqtse.kind": "data",
        "lqtse.space": "s",
        "lqtse.fingerprint": "f",
        "lqtse.source": "abc",
    }
    computed = schema.data_schema(8, "float16", precision="bfloat16")
    assert schema.metadata_of(computed)["lqtse.precision"] == "bfloat16"
    features = json.loads(about.metadata[b"huggingface"])["info"]["features"]
    assert features["embedding"]["length"] == 8
    assert list(features) == about.names
