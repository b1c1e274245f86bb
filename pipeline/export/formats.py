"""How rows are written for each tool: each takes batches of a known schema, and a path.

lance            all columns, for LanceDB and whoever reads Lance; `embedding` [D] as it is
embedding-atlas  Parquet: id, caption, concepts, register, model, embedding (float32 [D])
csv, jsonl       id, caption, concepts, axes, model
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache_store.errors import MissingDependencyError, StorageError

Batches = Iterable[pa.RecordBatch]
Write = Callable[[Path, pa.Schema, Batches], None]

TEXT_COLUMNS = ("id", "caption", "concepts", "axes", "model")
CONCEPT_SEPARATOR = "; "
_OS_ERROR = re.compile(r"os error (\d+)")  # how Rust spells what the system said


def write_lance(path: Path, schema: pa.Schema, batches: Batches) -> None:
    """Write a Lance dataset, a folder.

    Raises:
        MissingDependencyError: If pylance is not installed.
        StorageError: If it cannot be written.
    """
    try:
        import lance
    except ImportError as error:
        raise MissingDependencyError(
            "--to lance needs the package pylance", hint="Install it: pip install 'lqtse[lance]'"
        ) from error

    failures: list[BaseException] = []

    def guarded() -> Iterator[pa.RecordBatch]:
        # Lance is written by another language, which would make any error one of its own.
        try:
            yield from batches
        except BaseException as error:
            failures.append(error)
            raise

    # What `datasets` reads of a Parquet file means nothing here.
    kept = {key: value for key, value in (schema.metadata or {}).items() if key != b"huggingface"}
    plain = schema.with_metadata(kept)
    renewed = (batch.replace_schema_metadata(kept) for batch in guarded())
    try:
        lance.write_dataset(pa.RecordBatchReader.from_batches(plain, renewed), str(path))
    except Exception as error:
        if failures:
            raise failures[0] from None
        if not isinstance(error, OSError):
            raise
        if number := _OS_ERROR.search(str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path.parent)) from error
        raise StorageError("cannot write", where=path.parent, found=error) from error


def write_atlas(path: Path, schema: pa.Schema, batches: Batches) -> None:
    """Write a Parquet file for embedding-atlas: plain columns, which it can count and colour by.

    Concepts are joined into one text, `register` is taken out of `axes`, and embeddings are
    widened to float32, which loses nothing: the tool reads them through pandas.
    """
    dim = schema.field("embedding").type.list_size
    texts = [(name, pa.string()) for name in ("id", "caption", "concepts", "register", "model")]
    wanted = pa.schema([*texts, ("embedding", pa.list_(pa.float32(), dim))])
    with pq.ParquetWriter(path, wanted, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches:
            axes = batch.column("axes").to_pylist()
            columns = {
                "concepts": [_joined(names) for names in batch.column("concepts").to_pylist()],
                "register": [str(read_axes(text).get("register", "")) for text in axes],
                "embedding": batch.column("embedding").cast(wanted.field("embedding").type),
            }
            for name in ("id", "caption", "model"):
                columns[name] = batch.column(name)
            table = pa.table([columns[name] for name in wanted.names], schema=wanted)
            writer.write_table(table)


def write_csv(path: Path, schema: pa.Schema, batches: Batches) -> None:
    """Write CSV in UTF-8: concepts joined by "; ", axes as a JSON object."""
    del schema
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TEXT_COLUMNS)
        for batch in batches:
            for row in batch.select(TEXT_COLUMNS).to_pylist():
                row["concepts"] = _joined(row["concepts"])
                writer.writerow([row[name] for name in TEXT_COLUMNS])


def write_jsonl(path: Path, schema: pa.Schema, batches: Batches) -> None:
    """Write JSON lines in UTF-8: concepts as a list, axes as an object."""
    del schema
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for batch in batches:
            for row in batch.select(TEXT_COLUMNS).to_pylist():
                row["axes"] = read_axes(row["axes"])
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_axes(text: str) -> dict[str, Any]:
    """The axes of a row; nothing where other software wrote something else."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _joined(names: Iterable[str]) -> str:
    return CONCEPT_SEPARATOR.join(names)
