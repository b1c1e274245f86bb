from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.index.build import build_index
from cache_store.writer import open_writer
from tests.cache_store.builders import add_step


@pytest.fixture
def cache_path(tmp_path: Path) -> Path:
    """A cache of two shards, 40 and 25 rows, without an index."""
    path = tmp_path / "cache"
    add_step(path, 40)
    add_step(path, 25, first=40)
    return path


@pytest.fixture
def indexed_path(cache_path: Path) -> Path:
    """The same with every kind of index."""
    with open_writer(cache_path) as writer:
        for kind in ("exact", "flat", "hnsw"):
            build_index(writer, kind)
    return cache_path
