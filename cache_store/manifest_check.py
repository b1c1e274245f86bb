"""Whether a manifest's values are of the kinds that the format has, before anything uses them.

A manifest whose hash is right may still be somebody else's work: a path that leads out of the
cache, a count that is a text. What is checked here need not be doubted further on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cache_store.layout import INDEX_FOLDER
from cache_store.schema import KINDS

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST = 2**53  # what JSON readers agree on; rows and bytes beyond it are no cache
_MOST_DIM = 2**20
_LISTS = (*KINDS, "indexes", "tombstones", "provenance")
_TEXTS = ("tool_version", "created", "config_hash", "template_hash")


def check_record(record: Mapping[str, Any]) -> None:
    """Check a manifest as it was read from JSON.

    Raises:
        ValueError: Naming the first field that cannot be right, and what it is.
        KeyError: If a field is missing.
    """
    _expect(_is_count(record["number"]), "number", record["number"])
    for name in _TEXTS:  # what an older manifest lacks has its default
        _expect(isinstance(record.get(name, ""), str), name, record.get(name))
    for name in _LISTS:
        _expect(isinstance(record.get(name, []), list), name, record.get(name))
    for folder in KINDS:
        for file in record.get(folder, ()):
            _check_file(folder, file)
    for index in record.get("indexes", ()):
        _expect(isinstance(index, dict), "indexes", index)
        for name in ("kind", "built_from"):
            _expect(isinstance(index[name], str), f"indexes.{name}", index[name])
        _expect(isinstance(index.get("params", {}), dict), "indexes.params", index.get("params"))
        files = index["files"]
        _expect(isinstance(files, list) and len(files) > 0, "indexes.files", files)
        for file in files:
            _check_file(INDEX_FOLDER, file)
    for text in record.get("tombstones", ()):
        _expect(isinstance(text, str), "tombstones", text)
    for step in record.get("provenance", ()):
        _expect(isinstance(step, dict), "provenance", step)
    _expect(isinstance(record.get("config", {}), dict), "config", record.get("config"))
    _check_space(record)


def _check_file(folder: str, file: Any) -> None:
    _expect(isinstance(file, dict), folder, file)
    path = file["path"]
    inside = isinstance(path, str) and path.startswith(f"{folder}/")
    _expect(inside and _NAME.fullmatch(path[len(folder) + 1 :]) is not None, "path", path)
    sha256 = file["sha256"]
    _expect(isinstance(sha256, str) and _SHA256.fullmatch(sha256) is not None, "sha256", sha256)
    for name in ("bytes", "rows"):
        _expect(_is_count(file[name]), f"{path}: {name}", file[name])
    _expect(isinstance(file.get("source", ""), str), f"{path}: source", file.get("source"))


def _check_space(record: Mapping[str, Any]) -> None:
    dtype, space = record.get("dtype"), record.get("space")
    _expect(dtype in (None, "float16", "float32"), "dtype", dtype)
    _expect((space is None) == (dtype is None), "space without dtype, or dtype", dtype)
    _expect(space is not None or not record.get("data"), "space", space)
    if space is not None:
        _expect(isinstance(space, dict), "space", space)
        for name in ("name", "fingerprint"):
            _expect(isinstance(space[name], str), f"space.{name}", space[name])
        dim = space["dim"]
        _expect(_is_count(dim) and 0 < dim <= _MOST_DIM, "space.dim", dim)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _expect(right: bool, name: str, value: object) -> None:
    if not right:
        raise ValueError(f"{name} is {value!r:.100}")
