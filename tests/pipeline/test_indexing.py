from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.cache import open_cache
from cache_store.errors import (
    DamagedError,
    DataError,
    LeaseHeldError,
    SpaceMismatchError,
    UsageError,
)
from cache_store.index import cells
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from pipeline.importing import import_captions
from pipeline.indexing import index_cache
from tests.pipeline.materials import DIM, captions, unit_vector, write_lines, write_vectors


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    source = write_vectors(tmp_path / "texts.parquet", captions(200), space="theirs")
    import_captions(tmp_path / "cache", source, embeddings=True)
    return tmp_path / "cache"


def queries(path: Path, space: str | None = "theirs", n: int = 20) -> Path:
    vectors = [unit_vector(f"clip {i}").tolist() for i in range(n)]
    embedding = pa.array(vectors, pa.list_(pa.float32(), DIM))
    table = pa.table({"path": [f"{i}.wav" for i in range(n)], "embedding": embedding})
    if space is not None:
        table = table.replace_schema_metadata({"lqtse.space": space})
    pq.write_table(table, path)
    return path


def test_auto_says_what_it_picked_and_why(cache: Path) -> None:
    report = index_cache(cache).built
    assert (report.kind, report.rows, report.dim) == ("exact", 200, DIM)
    assert "200 captions" in report.reason


@pytest.mark.parametrize("kind", ["exact", "flat", "hnsw"])
def test_what_was_built_is_used_and_whole(cache: Path, kind: str) -> None:
    assert index_cache(cache, kind=kind).built.kind == kind
    with open_cache(cache) as store:
        hits = store.search([unit_vector(captions(200)[17])], k=1, kind=kind)
        assert hits.rows.tolist() == [[17]]
    assert verify_cache(cache).whole


def test_recall_is_measured_with_the_users_audio(cache: Path, tmp_path: Path) -> None:
    asked = queries(tmp_path / "clips.parquet")
    report = index_cache(cache, kind="hnsw", queries=asked).built
    assert report.recall_queries == "given"
    assert report.recall is not None and report.recall > 0.9  # 200 rows: nearly all are visited
    assert index_cache(cache, kind="hnsw").built.recall_queries == "captions"


def test_queries_of_another_space_or_of_none_are_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SpaceMismatchError, match=r"theirs.*another"):
        index_cache(cache, kind="hnsw", queries=queries(tmp_path / "a.parquet", "another"))
    unnamed = queries(tmp_path / "b.parquet", None)
    with pytest.raises(UsageError, match="--space-name"):
        index_cache(cache, kind="hnsw", queries=unnamed)
    assert (
        index_cache(cache, kind="hnsw", queries=unnamed, space_name="theirs").built.recall
        is not None
    )
    plain = tmp_path / "plain.csv"
    plain.write_text("path\na.wav\n")
    with pytest.raises(UsageError, match=r"'theirs' is a name.*--space"):
        index_cache(cache, kind="hnsw", queries=plain)


def test_a_device_that_it_does_not_use_is_refused(cache: Path) -> None:
    with pytest.raises(UsageError, match="CPU"):
        index_cache(cache, device="cuda")


def test_nothing_to_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such cache"):
        index_cache(tmp_path / "missing")
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", captions(3)))
    with pytest.raises(DataError, match="lqtse-cache embed"):
        index_cache(tmp_path / "c")


def test_a_second_writer_is_refused(cache: Path) -> None:
    with open_writer(cache), pytest.raises(LeaseHeldError):
        index_cache(cache)


def test_workers_make_the_same_files_and_leave_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "PART_ROWS", 100)
    monkeypatch.setattr(cells, "BLOCK_ROWS", 50)
    source = write_vectors(tmp_path / "texts.parquet", captions(200), space="theirs")
    found = []
    for workers in (1, 2):
        cache = tmp_path / f"c{workers}"
        import_captions(cache, source, embeddings=True, shard_rows=30)
        index_cache(cache, kind="ivf", workers=workers)
        found.append(sorted(path.name for path in (cache / "index").iterdir()))  # by content
    assert found[0] == found[1] and len(found[0]) == 2


def test_a_damaged_file_that_a_worker_reads_is_named(tmp_path: Path) -> None:
    source = write_vectors(tmp_path / "texts.parquet", captions(200), space="theirs")
    import_captions(tmp_path / "c", source, embeddings=True, shard_rows=30)
    victim = sorted((tmp_path / "c" / "data").glob("*.parquet"))[3]
    data = bytearray(victim.read_bytes())
    data[len(data) // 3] ^= 16
    victim.write_bytes(data)
    with pytest.raises(DamagedError, match=victim.name):
        index_cache(tmp_path / "c", workers=2)
    assert not list((tmp_path / "c" / "index").iterdir())
