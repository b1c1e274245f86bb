from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cache_store.cache import open_cache
from cache_store.errors import DamagedError
from cache_store.index.build import build_index
from cache_store.manifest import named_space
from cache_store.shards import from_matrix
from cache_store.text import caption_id
from cache_store.writer import open_writer
from tests.cache_store.builders import (
    DIM,
    add_step,
    caption_table,
    captions,
    flip_bit,
    reject_table,
)


def remove(path: Path, texts: list[str]) -> None:
    with open_writer(path) as writer:
        ids = tuple(caption_id(text) for text in texts)
        writer.publish(tombstones=(*writer.current.tombstones, *ids))


def vectors(dataset: Any) -> list[npt.NDArray[Any]]:
    """The embedding column's chunks as arrays over its own memory."""
    return [
        chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
        for chunk in dataset.data.column("embedding").chunks
    ]


@pytest.mark.parametrize("fixture", ["cache_path", "indexed_path"])
def test_it_holds_all_rows_over_the_caches_own_memory(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    with open_cache(request.getfixturevalue(fixture)) as cache:
        dataset = cache.as_dataset()
        assert dataset["caption"][:] == captions(65)
        assert dataset["id"][:] == cache.ids(range(65))
        assert dataset["concepts"][:3] == cache.concepts(range(3))
        chunks = vectors(dataset)
        assert len(chunks) == 2  # one a file
        for chunk in chunks:
            assert np.shares_memory(chunk, cache.embeddings)
        np.testing.assert_array_equal(np.concatenate(chunks), cache.embeddings)
        feature = dataset.features["embedding"]
        assert (feature.length, feature.feature.dtype) == (DIM, "float16")


def test_removed_captions_are_left_out_and_nothing_moves(indexed_path: Path) -> None:
    gone = [0, 3, 4, 39, 40, 64]
    remove(indexed_path, [captions(65)[row] for row in gone])
    kept = np.delete(np.arange(65), gone)
    with open_cache(indexed_path) as cache:
        dataset = cache.as_dataset()
        assert len(dataset) == len(cache) == 59
        assert dataset["caption"][:] == [captions(65)[row] for row in kept]
        found = dataset.with_format("numpy", dtype=np.float16)[:]["embedding"]
        np.testing.assert_array_equal(found, cache.embeddings[kept])
        assert all(np.shares_memory(chunk, cache.embeddings) for chunk in vectors(dataset))


def test_removing_the_beginning_or_everything(cache_path: Path) -> None:
    remove(cache_path, captions(10))
    with open_cache(cache_path) as cache:
        assert cache.as_dataset()["caption"][:] == captions(55, 10)
    remove(cache_path, captions(55, 10))
    with open_cache(cache_path) as cache:
        assert cache.as_dataset()["caption"][:] == []


def test_captions_alone_leave_removed_ones_out_too(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        tables = (caption_table(4), caption_table(3, 4))
        writer.publish(captions=[writer.write_captions(table) for table in tables])
    remove(tmp_path, captions(2, 3))
    with open_cache(tmp_path) as cache:
        assert cache.as_dataset()["caption"][:] == [*captions(3), *captions(2, 5)]


def test_a_cache_of_rejects_alone_is_an_empty_dataset(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.publish(rejects=[writer.write_rejects(reject_table(2))])
    with open_cache(tmp_path) as cache:
        dataset = cache.as_dataset()
        assert (len(dataset), dataset.column_names[:2]) == (0, ["id", "caption"])


def test_torch_and_numpy_get_arrays(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        dataset = cache.as_dataset()
        tensors = dataset.with_format("torch", dtype=torch.float16)[:7]["embedding"]
        assert (tensors.shape, tensors.dtype) == ((7, DIM), torch.float16)
        np.testing.assert_array_equal(tensors.numpy(), cache.embeddings[:7])
        row = dataset.with_format("numpy")[64]
        assert (row["embedding"].shape, row["caption"]) == ((DIM,), captions(65)[64])


def test_equal_caches_have_equal_fingerprints_so_that_map_finds_its_own(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        first, second = cache.as_dataset(), cache.as_dataset()
        assert first._fingerprint == second._fingerprint == cache.manifest.self_hash[:16]
    add_step(cache_path, 5, first=100)
    with open_cache(cache_path) as cache:
        assert cache.as_dataset()._fingerprint != first._fingerprint


def test_a_flipped_bit_in_the_texts_is_found(cache_path: Path) -> None:
    with open_cache(cache_path) as cache:
        flip_bit(cache_path / cache.manifest.data[1].path, 8 * 200)
        with pytest.raises(DamagedError, match=r"a Parquet file is damaged: .*verify"):
            cache.as_dataset()


SHARD, SHARDS, WIDE = 8_000, 6, 512
ROWS = SHARD * SHARDS

MEASURE = """
import sys
import numpy as np, psutil, pyarrow
from cache_store.cache import open_cache

def own():  # resident memory that is not a mapped file
    pyarrow.default_memory_pool().release_unused()
    info = psutil.Process().memory_info()
    return info.rss - info.shared

open_cache(sys.argv[1]).as_dataset()  # what importing and the first read take
cache = open_cache(sys.argv[2])
before = own()
dataset = cache.as_dataset().with_format("numpy", dtype=np.float32)
total = 0
for start in range(0, len(dataset), 1000):
    block = dataset[start : start + 1000]["embedding"]
    total += int((block == cache.embeddings[start : start + 1000]).all(1).sum())
print(total, own() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count mapped files otherwise")
def test_memory_grows_by_far_less_than_the_matrix(tmp_path: Path, cache_path: Path) -> None:
    big = tmp_path / "big"
    with open_writer(big) as writer:
        matrix = np.random.default_rng(0).random((SHARD, WIDE), dtype=np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        table = caption_table(SHARD).append_column("embedding", from_matrix(matrix))
        entry = writer.write_data(table, named_space("wide", WIDE))
        writer.publish(data=[entry] * SHARDS)  # the index copies each, so the matrix has all rows
        build_index(writer, "exact")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(cache_path), str(big)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows, grown = map(int, done.stdout.split())
    assert rows == ROWS
    # Every row was read, and what is held is the texts (7 MB) and the allocator's slack.
    assert grown < ROWS * WIDE * 4 / 2
