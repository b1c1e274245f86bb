from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cache_store.cache import open_cache
from cache_store.errors import DamagedError, DataError, StorageError, UsageError
from cache_store.index import build as build_module
from cache_store.index.build import build_index, check_request, choose_kind
from cache_store.shards import read_table, to_matrix
from cache_store.writer import open_writer
from tests.cache_store.builders import add_step, caption_table, flip_bit, unit_rows
from tests.cache_store.test_crash import FaultyLayer, disk_full


def test_the_matrix_is_the_data_in_row_order(cache_path: Path) -> None:
    with open_writer(cache_path) as writer:
        report = build_index(writer, "exact")
    with open_cache(cache_path) as cache:
        shards = [read_table(cache_path / entry.path) for entry in cache.manifest.data]
        expected = np.concatenate([to_matrix(table.column("embedding")) for table in shards])
        assert isinstance(cache.embeddings, np.memmap)
        np.testing.assert_array_equal(cache.embeddings, expected)
    assert (report.kind, report.rows, report.dim) == ("exact", 65, 16)
    assert report.recall is None
    (name,) = report.files
    assert np.load(cache_path / name, allow_pickle=False).dtype == np.float16


def test_a_faiss_index_brings_its_matrix(cache_path: Path) -> None:
    with open_writer(cache_path) as writer:
        report = build_index(writer, "hnsw")
    assert [Path(name).suffix for name in report.files] in ([".npy", ".faiss"], [".faiss", ".npy"])
    assert report.recall == 1.0
    assert report.recall_queries == "captions"
    with open_cache(cache_path) as cache:
        assert [index.kind for index in cache.manifest.indexes] == ["exact", "hnsw"]
        assert cache.manifest.provenance[-1]["recall_at_10"] == 1.0


def test_recall_is_measured_with_the_queries_that_are_given(cache_path: Path) -> None:
    with open_writer(cache_path) as writer:
        report = build_index(writer, "hnsw", queries=unit_rows(5, dtype="float32"))
    assert report.recall_queries == "given"


def test_fresh_indexes_stay_and_old_ones_go(indexed_path: Path) -> None:
    with open_cache(indexed_path) as cache:
        assert [index.kind for index in cache.manifest.indexes] == ["exact", "flat", "hnsw"]
    add_step(indexed_path, 5, first=100)
    with open_writer(indexed_path) as writer:
        assert not any(writer.current.is_fresh(index) for index in writer.current.indexes)
        build_index(writer, "flat")
        assert [index.kind for index in writer.current.indexes] == ["exact", "flat"]
        assert all(writer.current.is_fresh(index) for index in writer.current.indexes)


def test_building_again_gives_the_same_matrix_file(cache_path: Path) -> None:
    with open_writer(cache_path) as writer:
        assert build_index(writer, "exact").files == build_index(writer, "exact").files


def test_auto_needs_many_rows_or_little_memory_for_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "available_memory", lambda: 10**10)
    assert choose_kind("auto", 1000, 512, 2)[0] == "exact"
    kind, reason = choose_kind("auto", 10_000_000, 512, 2)
    assert kind == "ivf"
    assert "10,000,000 captions" in reason
    monkeypatch.setattr(build_module, "available_memory", lambda: 10**7)
    assert choose_kind("auto", 10_000, 512, 2)[0] == "ivf"
    assert choose_kind("flat", 10_000, 512, 2) == ("flat", "asked for")
    monkeypatch.setattr(build_module, "faiss_installed", lambda: False)
    kind, reason = choose_kind("auto", 10_000, 512, 2)
    assert kind == "exact" and reason.endswith("free, but FAISS is not installed")


def test_a_request_is_checked() -> None:
    check_request("auto", 1.0)
    with pytest.raises(UsageError, match="unknown kind of index"):
        check_request("annoy", 0.9)
    for target in (0.0, 1.01, float("nan")):
        with pytest.raises(UsageError, match="bad recall"):
            check_request("ivf", target)


def test_nothing_embedded_is_told(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        with pytest.raises(DataError, match="lqtse-cache embed"):
            build_index(writer)
        writer.publish(captions=[writer.write_captions(caption_table(3))])
        with pytest.raises(DataError, match="lqtse-cache embed"):
            build_index(writer)


def test_damaged_data_gets_no_index(cache_path: Path) -> None:
    with open_writer(cache_path) as writer:
        path = cache_path / writer.current.data[1].path
        embedding = pq.ParquetFile(path).metadata.row_group(0).column(6)
        assert embedding.path_in_schema == "embedding.list.element"
        flip_bit(path, 8 * (embedding.data_page_offset + embedding.total_compressed_size // 2))
        with pytest.raises(DamagedError):
            build_index(writer, "exact")
        assert writer.current.indexes == ()


def test_a_disk_that_fills_leaves_the_cache_as_it_was(cache_path: Path) -> None:
    for nth in range(2, 30):
        layer = FaultyLayer(nth, "halfway", disk_full)
        try:
            with open_writer(cache_path, layer=layer) as writer:
                build_index(writer, "hnsw")
        except StorageError:
            with open_cache(cache_path) as cache:
                assert len(cache.search(unit_rows(1, dtype="float32"), k=2).ids) == 1
        else:
            break
    else:
        pytest.fail("it never succeeded")
