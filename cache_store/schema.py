"""The tables of format 1: their columns, types and metadata.

    captions   id, caption, concepts, axes, model, request_id
    data       the same, and embedding: unit-norm fixed-size list of float16 or float32 [D]
    rejects    reason, caption, answer, concepts, model, request_id, axes (not in early files)

`axes` is a JSON object as text, since which axes there are may change from plan to plan. Unknown
text is "", never null. Each file's metadata says what it is (`lqtse.*`), and carries the features
that `datasets` reads, written in the spelling that all its versions since 3.0 understand.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pyarrow as pa

from cache_store.errors import DataError, UsageError

FORMAT: Final = "1"
CAPTIONS: Final = "captions"
DATA: Final = "data"
REJECTS: Final = "rejects"
KINDS: Final = (CAPTIONS, DATA, REJECTS)

_TEXT = pa.string()
_TEXTS = pa.list_(pa.string())
_FLOATS = {"float16": pa.float16(), "float32": pa.float32()}

_CAPTION_COLUMNS = (
    ("id", _TEXT),
    ("caption", _TEXT),
    ("concepts", _TEXTS),
    ("axes", _TEXT),
    ("model", _TEXT),
    ("request_id", _TEXT),
)
REJECT_COLUMNS = (
    ("reason", _TEXT),
    ("caption", _TEXT),
    ("answer", _TEXT),
    ("concepts", _TEXTS),
    ("model", _TEXT),
    ("request_id", _TEXT),
    ("axes", _TEXT),
)


def captions_schema() -> pa.Schema:
    """Return the schema of captions/*.parquet."""
    return _schema(_CAPTION_COLUMNS, {"lqtse.kind": CAPTIONS})


def rejects_schema() -> pa.Schema:
    """Return the schema of rejects/*.parquet."""
    return _schema(REJECT_COLUMNS, {"lqtse.kind": REJECTS})


def data_schema(
    dim: int,
    dtype: str,
    *,
    space: str = "",
    fingerprint: str = "",
    source: str = "",
    precision: str = "",
) -> pa.Schema:
    """Return the schema of data/*.parquet.

    Args:
        dim: D, the embedding size.
        dtype: "float16" or "float32".
        space: The name of the embedding space.
        fingerprint: The fingerprint of the embedding space.
        source: The SHA-256 of the captions file that was embedded, "" for imported embeddings.
        precision: In which the model computed, "" where it is not known.
    """
    column = ("embedding", pa.list_(float_type(dtype), dim))
    metadata = {
        "lqtse.kind": DATA,
        "lqtse.space": space,
        "lqtse.fingerprint": fingerprint,
        "lqtse.source": source,
    }
    if precision:
        metadata["lqtse.precision"] = precision
    return _schema((*_CAPTION_COLUMNS, column), metadata)


def float_type(dtype: str) -> pa.DataType:
    """Return the Arrow type of an embedding's values.

    Raises:
        UsageError: For any other name than float16 and float32.
    """
    if dtype not in _FLOATS:
        raise UsageError(
            "unknown type for embeddings", expected=" or ".join(_FLOATS), found=repr(dtype)
        )
    return _FLOATS[dtype]


def embedding_type(schema: pa.Schema) -> tuple[int, str]:
    """Return (dim, dtype) of the `embedding` column.

    Raises:
        DataError: If there is no such column, or it is not a fixed-size list of floats.
    """
    kind = schema.field("embedding").type if "embedding" in schema.names else None
    if kind is not None and pa.types.is_fixed_size_list(kind):
        for dtype, value_type in _FLOATS.items():
            if kind.value_type == value_type:
                return kind.list_size, dtype
    raise DataError(
        "no usable embedding column",
        expected="a fixed-size list of float16 or float32",
        found=kind or "no column named embedding",
    )


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with the columns, types, metadata and memory layout of `schema`.

    Missing text columns are filled with "" and missing lists with []; other columns are dropped.
    Rows in one chunk, so that equal rows always give equal files.

    Raises:
        DataError: If a column that cannot be made up is missing, or holds nulls or another type.
    """
    columns = []
    for field in schema:
        if field.name in table.column_names:
            column = table.column(field.name)
            try:
                # A cast loads Arrow's kernels (6 MB) even where there is nothing to do.
                column = column if column.type == field.type else column.cast(field.type)
            except pa.ArrowException as error:
                raise DataError(
                    f"column {field.name} has the wrong type",
                    expected=field.type,
                    found=f"{column.type} ({error})",
                ) from error
        elif field.name in ("axes", "answer", "model", "request_id"):
            column = pa.array([""] * table.num_rows, _TEXT)
        elif field.name == "concepts":
            column = pa.array([[]] * table.num_rows, _TEXTS)
        else:
            raise DataError(f"column {field.name} is missing", found=", ".join(table.column_names))
        if column.null_count:
            raise DataError(f"column {field.name} holds {column.null_count} empty cells (null)")
        columns.append(column)
    return pa.table(columns, schema=schema).combine_chunks()


def metadata_of(schema: pa.Schema) -> dict[str, str]:
    """Return the `lqtse.*` metadata of a file, names and values as text."""
    pairs = (schema.metadata or {}).items()
    return {
        key.decode(): value.decode(errors="replace")
        for key, value in pairs
        if key.startswith(b"lqtse.")
    }


def _schema(columns: tuple[tuple[str, pa.DataType], ...], metadata: dict[str, str]) -> pa.Schema:
    features = {name: _feature(kind) for name, kind in columns}
    return pa.schema(
        [pa.field(name, kind) for name, kind in columns],
        metadata={
            "lqtse.format": FORMAT,
            **metadata,
            "huggingface": json.dumps({"info": {"features": features}}),
        },
    )


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}
    names = {pa.float16(): "float16", pa.float32(): "float32", pa.string(): "string"}
    return {"dtype": names[kind], "_type": "Value"}
