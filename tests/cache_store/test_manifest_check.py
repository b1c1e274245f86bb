from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from cache_store.manifest import FileEntry, IndexEntry, Manifest, named_space
from cache_store.manifest_check import check_record

FILE = FileEntry(f"data/{'a' * 32}.parquet", "a" * 64, 10, 3)
INDEX = IndexEntry("exact", (replace(FILE, path="index/x.npy"),), "b" * 64)
GOOD = Manifest(
    number=1, space=named_space("s", 4), dtype="float16", data=(FILE,), indexes=(INDEX,)
)


def spelled(manifest: Manifest) -> dict[str, Any]:
    """As JSON gives it: lists, no tuples."""
    record = asdict(manifest)
    for name, value in record.items():
        if isinstance(value, tuple):
            record[name] = list(value)
    for index in record["indexes"]:
        index["files"] = list(index["files"])
    return record


def test_what_we_write_passes() -> None:
    check_record(spelled(GOOD))
    check_record(spelled(Manifest()))


def test_an_older_manifest_may_lack_fields() -> None:
    record = spelled(GOOD)
    for name in ("template_hash", "rejects", "provenance"):
        del record[name]
    check_record(record)


@pytest.mark.parametrize(
    "path",
    [
        "../../x",
        "data/../../x",
        "/etc/passwd",
        "data//x",
        "data/",
        "data/.hidden",
        "data\\x",
        "data/a\0b",
        "captions/x.parquet",
        "data/a/b",
        "data/" + "x" * 300,
        7,
        None,
    ],
)
def test_a_file_lies_in_the_folder_of_its_kind(path: object) -> None:
    record = spelled(GOOD)
    record["data"][0]["path"] = path
    with pytest.raises(ValueError, match="path is"):
        check_record(record)


@pytest.mark.parametrize("field", ["rows", "bytes"])
@pytest.mark.parametrize("value", [-1, 1.0, "3", True, None, 10**30])
def test_counts_are_counts(field: str, value: object) -> None:
    record = spelled(GOOD)
    record["data"][0][field] = value
    with pytest.raises(ValueError, match=field):
        check_record(record)


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "1"},
        {"captions": {}},
        {"tombstones": [1]},
        {"provenance": ["x"]},
        {"config": []},
        {"dtype": "float64"},
        {"dtype": None},
        {"space": None},
        {"space": None, "dtype": None},
        {"space": {"name": "s", "fingerprint": "f", "dim": 0}},
        {"space": {"name": "s", "fingerprint": 1, "dim": 3}},
        {"indexes": [{"kind": "exact", "files": [], "built_from": "", "params": {}}]},
        {"created": 3},
    ],
)
def test_fields_are_of_their_kinds(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=" is "):
        check_record({**spelled(GOOD), **changes})
