from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from cache_store import retrieval
from cache_store.cache import open_cache
from cache_store.errors import StaleIndexError, UsageError
from cache_store.index import auto
from cache_store.retrieval import as_tensor
from tests.cache_store.builders import add_step, unit_rows
from tests.cache_store.index.oracle import brute_force

QUERIES = unit_rows(3, seed=99, dtype="float32")


def test_a_stale_index_is_refused_by_name_and_passed_over_by_auto(indexed_path: Path) -> None:
    add_step(indexed_path, 30, first=200)
    with open_cache(indexed_path) as cache:
        for kind in ("flat", "hnsw"):
            with pytest.raises(StaleIndexError, match=f"lqtse-cache index .* --kind {kind}") as e:
                cache.search(QUERIES, kind=kind)
            assert e.value.exit_code == 4
            assert "expected built from 95 rows, found built from 65 rows" in e.value.message
        hits = cache.search(QUERIES, k=4)
        assert hits.kind == "exact"
        assert "older than the data and was not used" in hits.reason
        assert not isinstance(cache.embeddings, np.memmap)
        expected = brute_force(cache.embeddings, QUERIES, 4, cache.ids(range(95)))[1]
        np.testing.assert_array_equal(hits.rows, expected)
        assert len(cache.embeddings) == 95


def test_an_index_that_was_not_built_says_how_to_build_it(cache_path: Path) -> None:
    with (
        open_cache(cache_path) as cache,
        pytest.raises(UsageError, match=r"no hnsw index was built.*lqtse-cache index"),
    ):
        cache.search(QUERIES, kind="hnsw")


def test_auto_takes_the_graph_when_rows_are_many(
    indexed_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "AUTO_EXACT_ROWS", 50)
    with open_cache(indexed_path) as cache:
        hits = cache.search(QUERIES, k=4)
        assert (hits.kind, "65 captions are many" in hits.reason) == ("hnsw", True)
    add_step(indexed_path, 30, first=200)
    with open_cache(indexed_path) as cache:
        hits = cache.search(QUERIES, k=4)
        assert (hits.kind, "older than the data" in hits.reason) == ("exact", True)


def test_auto_takes_the_graph_when_memory_is_small_and_stays_with_that(
    indexed_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "available_memory", lambda: 5000)
    with open_cache(indexed_path) as cache:
        hits = cache.search(QUERIES, k=4)
        assert (hits.kind, "searching all 65 captions needs" in hits.reason) == ("hnsw", True)
        monkeypatch.setattr(retrieval, "available_memory", lambda: 10**10)
        assert cache.search(QUERIES, k=4).kind == "hnsw"
    with open_cache(indexed_path) as cache:
        assert cache.search(QUERIES, k=4).kind == "exact"


def test_auto_without_a_graph_says_what_would_help(
    cache_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "AUTO_EXACT_ROWS", 50)
    with open_cache(cache_path) as cache:
        assert (
            "no approximate index was built; run lqtse-cache index" in cache.search(QUERIES).reason
        )


def test_a_read_only_array_becomes_a_tensor_without_a_copy_or_a_warning() -> None:
    array = np.arange(4, dtype=np.float32)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = as_tensor(array)
    assert tensor.data_ptr() == array.ctypes.data
