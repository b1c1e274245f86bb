"""Caches by strangers: whatever the bytes say, a reader gets an answer or an error of our tree.

Files are planted with the right hash and size, so that nothing but the content itself is there to
be doubted; then the cache is opened, read, searched in every way, counted and verified.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_store import schema
from cache_store.cache import open_cache
from cache_store.errors import LqtseError
from cache_store.index.build import build_index
from cache_store.manifest import FileEntry, Manifest, manifest_path, newest_manifest
from cache_store.shards import from_matrix
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import DIM, SPACE, add_step, caption_table, unit_rows

FEW = settings(max_examples=25)
ROWS = 20

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../../x", "/etc/passwd", "data/../../x", "data/\0", "1" * 5000, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "cache"
    add_step(path, ROWS)
    with open_writer(path) as writer:
        for kind in ("exact", "flat", "hnsw"):
            build_index(writer, kind)
    return path


@pytest.fixture(scope="module")
def cache(whole: Path) -> Iterator[Path]:
    """The same, to be written over in every example; beside it nothing may appear."""
    path = whole.parent / "fuzzed"
    shutil.copytree(whole, path)
    yield path
    assert sorted(one.name for one in whole.parent.iterdir()) == ["cache", "fuzzed"]


def newest(path: Path) -> Manifest:
    manifest = newest_manifest(path)
    assert manifest is not None
    return manifest


def ours(act: Callable[[], object]) -> bool:
    """Whether it went well; an error that is not of our tree passes through and fails the test."""
    try:
        act()
    except LqtseError as error:
        assert "\n" not in error.message
        return False
    return True


def use(path: Path) -> bool:
    """Do everything that a reader can do; whether all of it went well and `verify` was content."""
    well = [ours(lambda: verify_cache(path))]

    def read() -> None:
        with open_cache(path) as cache:
            well.append(ours(cache.stats))
            well.append(ours(lambda: cache.captions(range(cache.manifest.rows))))
            well.append(ours(lambda: np.array(cache.embeddings).sum()))
            well.append(ours(cache.as_dataset))
            for kind in ("exact", "flat", "hnsw"):
                queries = unit_rows(2, dtype="float32")
                well.append(ours(partial(cache.search, queries, 3, kind)))

    well.append(ours(read))
    return all(well) and verify_cache(path).whole


def spell(record: Any) -> bytes:
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def seal(record: Any) -> bytes:
    """The bytes of a manifest whose hash is right, whatever it says."""
    if not isinstance(record, dict):
        return spell(record)
    rest = {key: value for key, value in record.items() if key != "self_hash"}
    return spell({**rest, "self_hash": hashlib.sha256(spell(rest)).hexdigest()})


def put_manifest(path: Path, data: bytes) -> None:
    last = manifest_path(path, max(int(one.stem) for one in (path / "manifest").iterdir()))
    last.unlink()
    last.write_bytes(data)


def restore(whole: Path, path: Path) -> None:
    for one in (path / "manifest").iterdir():
        one.write_bytes((whole / "manifest" / one.name).read_bytes())


def places(record: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON tree."""
    yield at
    if isinstance(record, dict):
        for key, value in record.items():
            yield from places(value, (*at, key))
    elif isinstance(record, list):
        for number, value in enumerate(record):
            yield from places(value, (*at, number))


def test_the_whole_cache_is_whole(cache: Path) -> None:
    assert use(cache)


@FEW
@given(
    data=st.binary(max_size=200) | JSON.map(lambda value: repr(value).encode("utf-8", "replace"))
)
def test_a_manifest_of_any_bytes(whole: Path, cache: Path, data: bytes) -> None:
    put_manifest(cache, data)
    assert not use(cache)
    restore(whole, cache)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"number": ' + b"9" * 10_000 + b"}",
        b'{"format": "1", "format": "2"}',
        b"\xff\xfe{\x00}\x00",
        b"null",
    ],
)
def test_a_manifest_that_means_ill(whole: Path, cache: Path, data: bytes) -> None:
    put_manifest(cache, data)
    assert not use(cache)
    restore(whole, cache)


@settings(max_examples=60)
@given(data=st.data())
def test_a_manifest_with_one_value_changed(whole: Path, cache: Path, data: st.DataObject) -> None:
    last = max((whole / "manifest").iterdir())
    record = json.loads(last.read_bytes())
    place = data.draw(st.sampled_from(sorted(places(record), key=str)))
    value = data.draw(JSON)
    if place:
        node = record
        for step in place[:-1]:
            node = node[step]
        if data.draw(st.booleans()):
            del node[place[-1]]
        else:
            node[place[-1]] = value
    else:
        record = value
    put_manifest(cache, seal(record))
    use(cache)
    restore(whole, cache)


def test_a_manifest_that_is_no_file(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    shutil.copytree(whole, path)
    (path / "manifest" / "000099.json").mkdir()
    assert not use(path)
    (path / "manifest" / "000099.json").rmdir()
    (path / "manifest" / "000099.json").symlink_to(tmp_path / "nowhere")
    assert not use(path)


def plant(whole: Path, path: Path, kind: str, suffix: str, data: bytes, rows: int = ROWS) -> None:
    """Put a file in the place of the first of its kind: `kind` is a folder, or a kind of index."""
    digest = hashlib.sha256(data).hexdigest()
    manifest = newest(whole)
    folder = kind if kind in schema.KINDS else "index"
    name = f"{folder}/{digest[:32]}{suffix}"
    (path / name).write_bytes(data)
    old = getattr(manifest, kind)[0] if kind in schema.KINDS else None
    entry = FileEntry(name, digest, len(data), rows, old.source if old else "")
    if kind in schema.KINDS:
        changed = replace(manifest, **{kind: (entry,)})
        if kind == schema.DATA:
            changed = replace(changed, indexes=())
    else:
        indexes = [
            replace(one, files=(entry,)) if one.kind == kind else one for one in manifest.indexes
        ]
        changed = replace(manifest, indexes=tuple(indexes))
    put_manifest(path, changed.sealed().to_bytes())


def parquet(table: pa.Table, kind: str) -> bytes:
    metadata = {
        "lqtse.format": "1",
        "lqtse.kind": kind,
        "lqtse.space": SPACE.name,
        "lqtse.fingerprint": SPACE.fingerprint,
        "lqtse.source": "",
    }
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, write_page_checksum=True)
    return bytes(sink.getvalue())


def data_table(embedding: Any = None) -> pa.Table:
    column = from_matrix(unit_rows(ROWS, seed=3)) if embedding is None else embedding
    return caption_table(ROWS).append_column("embedding", column)


def with_value(value: float) -> pa.Table:
    matrix = unit_rows(ROWS, seed=3)
    matrix[7, 2] = value
    return data_table(from_matrix(matrix))


def null_rows() -> pa.Table:
    rows = [None if row == 3 else unit_rows(1, seed=row)[0].tolist() for row in range(ROWS)]
    return data_table(pa.array(rows, pa.list_(pa.float16(), DIM)))


def null_values() -> pa.Table:
    rows = unit_rows(ROWS, seed=3).tolist()
    rows[5][1] = None
    return data_table(pa.array(rows, pa.list_(pa.float16(), DIM)))


TABLES: dict[str, Callable[[], pa.Table]] = {
    "no embedding": lambda: caption_table(ROWS),
    "no id": lambda: data_table().drop_columns(["id"]),
    "no caption": lambda: data_table().drop_columns(["caption"]),
    "no concepts": lambda: data_table().drop_columns(["concepts"]),
    "nothing else": lambda: data_table().select(["embedding"]),
    "another width": lambda: data_table(from_matrix(unit_rows(ROWS, DIM + 1))),
    "float32": lambda: data_table(from_matrix(unit_rows(ROWS, dtype="float32"))),
    "float64": lambda: data_table(pa.array(unit_rows(ROWS).tolist(), pa.list_(pa.float64(), DIM))),
    "a list of no fixed size": lambda: data_table(
        pa.array(unit_rows(ROWS).tolist(), pa.list_(pa.float32()))
    ),
    "texts": lambda: data_table(pa.array(["x"] * ROWS)),
    "NaN": lambda: with_value(float("nan")),
    "infinity": lambda: with_value(float("inf")),
    "no unit vector": lambda: with_value(3.0),
    "null rows": null_rows,
    "null values": null_values,
    "null captions": lambda: data_table().set_column(
        1, "caption", pa.array([None] * ROWS, "string")
    ),
    "null ids": lambda: data_table().set_column(0, "id", pa.array([None] * ROWS, "string")),
    "numbers for ids": lambda: data_table().set_column(0, "id", pa.array(range(ROWS))),
    "numbers for captions": lambda: data_table().set_column(1, "caption", pa.array(range(ROWS))),
    "bytes for captions": lambda: data_table().set_column(1, "caption", pa.array([b"\xff"] * ROWS)),
    "fewer rows": lambda: data_table().slice(0, 3),
    "no rows": lambda: data_table().slice(0, 0),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("rows", [ROWS, 3])
def test_a_table_that_is_another(whole: Path, cache: Path, name: str, rows: int) -> None:
    plant(whole, cache, "data", ".parquet", parquet(TABLES[name](), "data"), rows)
    assert not use(cache)
    restore(whole, cache)


@pytest.mark.parametrize("kind", ["captions", "data", "rejects"])
@settings(max_examples=15)
@given(data=st.data())
def test_a_parquet_file_with_bytes_changed(
    whole: Path, cache: Path, kind: str, data: st.DataObject
) -> None:
    good = bytearray((whole / getattr(newest(whole), kind)[0].path).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    plant(whole, cache, kind, ".parquet", bytes(good[: len(good) - cut]))
    use(cache)
    restore(whole, cache)


def npy(array: Any, **options: Any) -> bytes:
    path = pa.BufferOutputStream()
    np.lib.format.write_array(path, array, **options)
    return bytes(path.getvalue())


HEADER = b"\x93NUMPY\x01\x00"
ARRAYS: dict[str, Callable[[], bytes]] = {
    "objects": lambda: npy(np.array([{"a": 1}] * ROWS, dtype=object), allow_pickle=True),
    "a pickle": lambda: pickle.dumps([1, 2, 3]),
    "another shape": lambda: npy(unit_rows(ROWS).T.copy()),
    "fewer rows": lambda: npy(unit_rows(ROWS - 1)),
    "float64": lambda: npy(unit_rows(ROWS).astype(np.float64)),
    "column order": lambda: npy(np.asfortranarray(unit_rows(ROWS))),
    "big-endian": lambda: npy(unit_rows(ROWS).astype(">f2")),
    "one dimension": lambda: npy(unit_rows(ROWS).reshape(-1)),
    "a lie about its size": lambda: npy(unit_rows(ROWS)).replace(b"(20, 16)", b"(2**, 6)"),
    "a huge size": lambda: npy(unit_rows(ROWS)).replace(b"(20, 16), ", b"(9**9, 9),"),
    "a huge header": lambda: HEADER + b"\xff\xff" + b"(" * 0xFFFF,
    "nothing": lambda: b"",
    "a zip": lambda: b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_matrix_that_is_another(whole: Path, cache: Path, name: str) -> None:
    plant(whole, cache, "exact", ".npy", ARRAYS[name]())
    assert not use(cache)
    restore(whole, cache)


@FEW
@given(data=st.data())
def test_a_matrix_with_a_header_of_any_bytes(whole: Path, cache: Path, data: st.DataObject) -> None:
    good = bytearray(npy(unit_rows(ROWS)))
    for _ in range(data.draw(st.integers(1, 5))):
        good[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    plant(whole, cache, "exact", ".npy", bytes(good))
    use(cache)
    restore(whole, cache)


def faiss_bytes(index: Any, vectors: Any = None) -> bytes:
    if vectors is not None:
        index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return faiss.serialize_index(index).tobytes()


def ivf() -> Any:
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, 1, faiss.METRIC_INNER_PRODUCT)
    index.train(unit_rows(ROWS, dtype="float32"))
    return index


INDEXES: dict[str, Callable[[], bytes]] = {
    "euclidean": lambda: faiss_bytes(faiss.IndexFlatL2(DIM), unit_rows(ROWS)),
    "another width": lambda: faiss_bytes(faiss.IndexFlatIP(8), unit_rows(ROWS, 8)),
    "fewer rows": lambda: faiss_bytes(faiss.IndexFlatIP(DIM), unit_rows(ROWS - 1)),
    "no rows": lambda: faiss_bytes(faiss.IndexFlatIP(DIM)),
    "another kind": lambda: faiss_bytes(faiss.IndexLSH(DIM, 32), unit_rows(ROWS)),
    "cells": lambda: faiss_bytes(ivf(), unit_rows(ROWS)),
    "with ids": lambda: faiss_bytes(faiss.IndexIDMap2(faiss.IndexFlatIP(DIM))),
    "other vectors": lambda: faiss_bytes(faiss.IndexFlatIP(DIM), unit_rows(ROWS, seed=9)),
    "nothing": lambda: b"",
    "text": lambda: b"IxFI and then nothing of the kind",
}


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("name", INDEXES)
def test_an_index_that_is_another(whole: Path, cache: Path, kind: str, name: str) -> None:
    plant(whole, cache, kind, ".faiss", INDEXES[name]())
    assert not use(cache)
    restore(whole, cache)


@FEW
@given(data=st.binary(max_size=300))
def test_a_card_of_any_bytes(whole: Path, cache: Path, data: bytes) -> None:
    (cache / "README.md").write_bytes(data)
    assert ours(lambda: verify_cache(cache))
    (cache / "README.md").write_bytes((whole / "README.md").read_bytes())
