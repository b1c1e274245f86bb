from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cache_store.cache import Cache, open_cache
from cache_store.errors import (
    DamagedError,
    DataError,
    MismatchError,
    SpaceMismatchError,
    UsageError,
    VersionMismatchError,
)
from cache_store.index.build import build_index
from cache_store.manifest import FileEntry, Manifest, manifest_path, named_space, newest_manifest
from cache_store.shards import read_table, to_matrix
from cache_store.text import caption_id
from cache_store.writer import open_writer
from tests.cache_store.builders import (
    DIM,
    SPACE,
    add_step,
    caption_table,
    captions,
    flip_bit,
    unit_rows,
)
from tests.cache_store.index.oracle import brute_force

QUERIES = unit_rows(6, seed=99, dtype="float32")


def rewrite(path: Path, **changes: object) -> Manifest:
    """Publish a manifest that our writer would not: other software may."""
    old = newest_manifest(path)
    assert old is not None
    new = replace(old, number=old.number + 1, **changes).sealed()  # type: ignore[arg-type]
    manifest_path(path, new.number).write_bytes(new.to_bytes())
    return new


def test_an_opened_cache_answers(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        assert len(cache) == 65
        assert (cache.space, cache.dim) == (SPACE, DIM)
        assert cache.captions([0, 64]) == [captions(1)[0], captions(65)[64]]
        assert cache.ids([[3], [41]]) == [[caption_id(captions(65)[row])] for row in (3, 41)]
        assert cache.concepts([1]) == [["sound", "kind 1"]]
        assert "test-space" in repr(cache)


@pytest.mark.parametrize("fixture", ["cache_path", "indexed_path"])
def test_embeddings_are_the_rows_and_cannot_be_written(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(fixture)
    with open_cache(path) as cache:
        shards = [read_table(path / entry.path) for entry in cache.manifest.data]
        expected = np.concatenate([to_matrix(table.column("embedding")) for table in shards])
        np.testing.assert_array_equal(cache.embeddings, expected)
        assert cache.embeddings.dtype == np.float16
        assert isinstance(cache.embeddings, np.memmap) == (fixture == "indexed_path")
        with pytest.raises(ValueError, match="read-only"):
            cache.embeddings[0] = 0


@pytest.mark.parametrize("kind", ["auto", "exact", "flat", "hnsw"])
@pytest.mark.parametrize("as_torch", [False, True])
def test_search_finds_what_brute_force_finds(indexed_path: Path, kind: str, as_torch: bool) -> None:
    with open_cache(indexed_path) as cache:
        queries = torch.from_numpy(QUERIES) if as_torch else QUERIES
        hits = cache.search(queries, k=5, kind=kind)
        ids = cache.ids(range(65))
        scores, rows = brute_force(cache.embeddings, QUERIES, 5, ids)
        np.testing.assert_array_equal(hits.rows, rows)
        np.testing.assert_array_equal(hits.scores, scores)
        assert hits.ids.tolist() == cache.ids(rows)
        assert hits.ids.shape == hits.scores.shape == hits.rows.shape == (6, 5)
        assert (hits.scores.dtype, hits.rows.dtype) == (np.float32, np.int64)
        assert cache.embeddings[hits.rows].shape == (6, 5, DIM)
        assert hits.kind == ("exact" if kind == "auto" else kind)
        assert hits.reason


def test_search_refuses_what_cannot_be_answered(indexed_path: Path) -> None:
    with open_cache(indexed_path) as cache:
        for kind in ("exact", "flat", "hnsw"):
            with pytest.raises(UsageError, match=r"expected k from 1 to 65.*found 66") as caught:
                cache.search(QUERIES, k=66, kind=kind)
            assert caught.value.exit_code == 2
            with pytest.raises(MismatchError, match=r"expected \[B, 16\], found \[6, 8\]"):
                cache.search(QUERIES[:, :8], kind=kind)
            broken = QUERIES.copy()
            broken[2, 0] = np.nan
            with pytest.raises(DataError, match="NaN or infinity: query 2"):
                cache.search(broken, kind=kind)
        with pytest.raises(UsageError, match="expected auto, exact, flat, hnsw, ivf, ivfpq"):
            cache.search(QUERIES, kind="lsh")


def test_an_exact_index_is_made_once(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        index = cache.exact_index()
        assert cache.exact_index("cpu") is index
        assert len(index) == 65


def test_samples_are_reproducible_and_without_repetition(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        rows = cache.sample(30, seed=1)
        assert rows.tolist() == cache.sample(30, seed=1).tolist()
        assert rows.tolist() != cache.sample(30, seed=2).tolist()
        assert len(set(rows.tolist())) == 30
        assert sorted(cache.sample(65, seed=0).tolist()) == list(range(65))
        with pytest.raises(UsageError, match="at most 65"):
            cache.sample(66, seed=0)


def test_closing_lets_go_and_using_takes_again(indexed_path: Path) -> None:
    cache = open_cache(indexed_path)
    before = cache.search(QUERIES, k=2)
    cache.close()
    assert cache.search(QUERIES, k=2).rows.tolist() == before.rows.tolist()
    cache.close()


def test_a_cache_sees_what_was_published_when_it_was_opened(cache_path: Path) -> None:
    with open_cache(cache_path) as old:
        add_step(cache_path, 5, first=100)
        assert (len(old), old.search(QUERIES, k=65).rows.max()) == (65, 64)
    with open_cache(cache_path) as new:
        assert len(new) == 70


def test_removed_captions_are_not_counted_and_not_found(indexed_path: Path) -> None:
    gone = [caption_id(text) for text in captions(65)[10:50]]
    rewrite(indexed_path, tombstones=tuple(gone))
    with open_cache(indexed_path) as cache:
        assert len(cache) == 25
        assert len(cache.embeddings) == 65
        for kind in ("exact", "flat", "hnsw"):
            rows = cache.search(QUERIES, k=25, kind=kind).rows
            assert {*range(10), *range(50, 65)} == set(rows[0].tolist())
            with pytest.raises(UsageError, match="k from 1 to 25"):
                cache.search(QUERIES, k=26, kind=kind)
        assert set(cache.sample(25, seed=0).tolist()).isdisjoint(range(10, 50))
        assert cache.as_dataset().num_rows == 25


def test_a_missing_cache_says_how_to_make_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no"):
        with pytest.raises(DataError, match=r"lqtse-cache generate .*lqtse-cache import") as caught:
            open_cache(path)
        assert caught.value.exit_code == 3


def test_captions_without_embeddings_say_what_is_next(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.publish(captions=[writer.write_captions(caption_table(3))])
    with open_cache(tmp_path) as cache:
        assert len(cache) == 0
        assert "not embedded" in repr(cache)
        for use in (lambda: cache.dim, lambda: cache.embeddings, lambda: cache.search(QUERIES)):
            with pytest.raises(DataError, match="lqtse-cache embed"):
                use()
        assert cache.as_dataset()["caption"][:] == captions(3)


def each_file(path: Path) -> list[FileEntry]:
    manifest = newest_manifest(path)
    assert manifest is not None
    return list(manifest.files())


def test_every_missing_or_cut_file_is_found_when_it_opens(indexed_path: Path) -> None:
    entries = each_file(indexed_path)
    assert {Path(entry.path).suffix for entry in entries} == {".parquet", ".npy", ".faiss"}
    for entry in entries:
        path = indexed_path / entry.path
        data = path.read_bytes()
        os.truncate(path, len(data) - 1)
        with pytest.raises(DamagedError, match=f"wrong size.*{path.name}.*expected {len(data)}"):
            open_cache(indexed_path)
        path.unlink()
        with pytest.raises(DamagedError, match=f"missing: .*{path.name}"):
            open_cache(indexed_path)
        path.write_bytes(data)
    open_cache(indexed_path).close()


def test_opening_reads_no_rows(cache_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(pq.ParquetFile, "read", read)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", read)
    open_cache(cache_path)


def swap_metadata(path: Path, entry: FileEntry, **metadata: str) -> FileEntry:
    """Write a file again with other metadata; the manifest's account of it stays right."""
    table = pq.read_table(path / entry.path)
    changed = {**(table.schema.metadata or {})}
    changed.update({f"lqtse.{key}".encode(): value.encode() for key, value in metadata.items()})
    place = path / "data" / "other.parquet"
    pq.write_table(table.replace_schema_metadata(changed), place)
    return replace(entry, path="data/other.parquet", bytes=place.stat().st_size)


@pytest.mark.parametrize(
    ("metadata", "error", "message"),
    [
        ({"fingerprint": "other", "space": "other-space"}, SpaceMismatchError, "other-space"),
        ({"format": "2"}, VersionMismatchError, "format 2"),
        ({"kind": "captions"}, DamagedError, "25 rows of captions"),
    ],
)
def test_a_file_that_is_something_else_is_found_when_it_opens(
    cache_path: Path, metadata: dict[str, str], error: type[Exception], message: str
) -> None:
    manifest = newest_manifest(cache_path)
    assert manifest is not None
    other = swap_metadata(cache_path, manifest.data[1], **metadata)
    rewrite(cache_path, data=(manifest.data[0], other))
    with pytest.raises(error, match=message):
        open_cache(cache_path)


def test_a_file_of_another_width_is_found_when_it_opens(cache_path: Path, tmp_path: Path) -> None:
    other = add_step(tmp_path / "wide", 25, first=40, space=replace(SPACE, dim=24)).data[0]
    shutil.copy(tmp_path / "wide" / other.path, cache_path / other.path)
    manifest = newest_manifest(cache_path)
    assert manifest is not None
    rewrite(cache_path, data=(manifest.data[0], other))
    with pytest.raises(SpaceMismatchError, match=r"float16\[16\].*float16\[24\]"):
        open_cache(cache_path)


def test_other_rows_than_the_manifest_says_are_found_when_it_opens(cache_path: Path) -> None:
    manifest = newest_manifest(cache_path)
    assert manifest is not None
    rewrite(cache_path, captions=(replace(manifest.captions[0], rows=41), manifest.captions[1]))
    with pytest.raises(DamagedError, match="expected 41 rows of captions, found 40 rows"):
        open_cache(cache_path)


def test_a_matrix_file_of_another_shape_is_not_used(indexed_path: Path) -> None:
    manifest = newest_manifest(indexed_path)
    assert manifest is not None
    entry = manifest.indexes[0].files[0]
    np.save(indexed_path / "index" / "other.npy", np.zeros((64, DIM), np.float16))
    size = (indexed_path / "index" / "other.npy").stat().st_size
    other = replace(entry, path="index/other.npy", bytes=size)
    rewrite(indexed_path, indexes=(replace(manifest.indexes[0], files=(other,)),))
    with open_cache(indexed_path) as cache, pytest.raises(DamagedError, match=r"other\.npy"):
        cache.search(QUERIES)


def test_a_matrix_file_is_never_unpickled(indexed_path: Path) -> None:
    manifest = newest_manifest(indexed_path)
    assert manifest is not None
    place = indexed_path / "index" / "other.npy"
    np.save(place, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    entry = replace(
        manifest.indexes[0].files[0], path="index/other.npy", bytes=place.stat().st_size
    )
    rewrite(indexed_path, indexes=(replace(manifest.indexes[0], files=(entry,)),))
    with open_cache(indexed_path) as cache, pytest.raises(DamagedError, match="lqtse-cache index"):
        _ = cache.embeddings


def test_a_flipped_bit_in_a_faiss_file_is_found_before_it_is_used(indexed_path: Path) -> None:
    manifest = newest_manifest(indexed_path)
    assert manifest is not None
    for kind in ("flat", "hnsw"):
        index = manifest.index(kind)
        assert index is not None
        flip_bit(indexed_path / index.files[0].path, 8 * 1000)
        with open_cache(indexed_path) as cache, pytest.raises(DamagedError, match="its hash"):
            cache.search(QUERIES, kind=kind)


def test_a_flipped_bit_in_the_data_is_found_before_it_is_used(cache_path: Path) -> None:
    manifest = newest_manifest(cache_path)
    assert manifest is not None
    path = cache_path / manifest.data[0].path
    embedding = pq.ParquetFile(path).metadata.row_group(0).column(6)
    flip_bit(path, 8 * (embedding.data_page_offset + embedding.total_compressed_size // 2))
    with open_cache(cache_path) as cache, pytest.raises(DamagedError, match="damaged"):
        cache.search(QUERIES)


def test_only_its_own_space_may_meet_it(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        cache.require_space(SPACE, "the run")
        for other in (named_space("other", DIM), replace(SPACE, dim=8)):
            with pytest.raises(SpaceMismatchError) as caught:
                cache.require_space(other, "clips.parquet")
            assert caught.value.exit_code == 4
            assert "clips.parquet" in caught.value.message
            assert "test-space" in caught.value.message
            assert other.name in caught.value.message


def test_a_dataset_has_all_columns_and_types(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        dataset = cache.as_dataset()
        assert dataset.num_rows == 65
        assert dataset.features["embedding"].length == DIM
        assert dataset[64]["caption"] == captions(65)[64]
        table = dataset.with_format("arrow")[:]
        assert table.schema.field("embedding").type == pa.list_(pa.float16(), DIM)
        assert json.loads(dataset[0]["axes"]) == {"register": "phrase"}


def test_float32_caches_work_alike(tmp_path: Path) -> None:
    add_step(tmp_path, 40, dtype="float32")
    with open_writer(tmp_path) as writer:
        build_index(writer, "flat")
    with open_cache(tmp_path) as cache:
        assert cache.embeddings.dtype == np.float32
        expected = brute_force(cache.embeddings, QUERIES, 3, cache.ids(range(40)))[1]
        for kind in ("exact", "flat"):
            np.testing.assert_array_equal(cache.search(QUERIES, k=3, kind=kind).rows, expected)


def test_the_public_names_are_there() -> None:
    import cache_store

    assert cache_store.open_cache is open_cache
    assert cache_store.Cache is Cache
    assert cache_store.errors.DamagedError is DamagedError
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cache_store.nothing  # type: ignore[attr-defined]
    assert set(cache_store.__all__) <= set(dir(cache_store))


def test_an_older_manifest_can_be_opened(cache_path: Path) -> None:
    with open_cache(cache_path, manifest=1) as old, open_cache(cache_path) as new:
        assert (old.manifest.number, len(old)) == (1, 40)
        assert (new.manifest.number, len(new)) == (2, 65)
        assert (old.embeddings == new.embeddings[:40]).all()
    with pytest.raises(DataError, match=r"no manifest of this number.*expected 1, 2, found 7"):
        open_cache(cache_path, manifest=7)
    with pytest.raises(DataError, match="no cache"):
        open_cache(cache_path / "nothing", manifest=1)
