"""Approximate indexes of long vectors, asked from the other side of a modality gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.cache import open_cache
from cache_store.errors import DamagedError, UsageError
from cache_store.index.build import BuildReport, build_index
from cache_store.manifest import named_space
from cache_store.shards import from_matrix
from cache_store.writer import open_writer
from tests.cache_store.builders import caption_table, flip_bit

DIM, ROWS = 64, 4000


def cloud(n: int, seed: int, mean: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((n, DIM)) / np.sqrt(1 + np.arange(DIM))
    vectors[:, mean] += 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


@pytest.fixture(scope="module")
def long_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "cache"
    with open_writer(path) as writer:
        vectors = from_matrix(cloud(ROWS, 0, 40).astype(np.float16))
        table = caption_table(ROWS).append_column("embedding", vectors)
        entry = writer.write_data(table, named_space("theirs", DIM))
        writer.publish(data=[entry])
    return path


def built(path: Path, kind: str, target: float = 0.95) -> BuildReport:
    with open_writer(path) as writer:
        return build_index(writer, kind, queries=cloud(100, 1, 50), target=target)


@pytest.mark.parametrize("kind", ["ivf", "ivfpq", "hnsw"])
def test_it_is_tuned_and_searches_as_tuned(long_cache: Path, kind: str) -> None:
    report = built(long_cache, kind)
    assert report.recall is not None and report.recall >= (0.9 if kind == "hnsw" else 0.95)
    assert report.recall_queries == "given"
    for name in ("recall_at_1", "recall_at_10", report.breadth_name):
        values = [point[name] for point in report.curve]
        assert values == sorted(values)
    assert report.curve[-1][report.breadth_name] == report.breadth
    with open_cache(long_cache) as cache:
        index = cache.manifest.index(kind)
        assert index is not None and index.params[report.breadth_name] == report.breadth
        assert cache._search_engine()._load(kind, "cpu").breadth == report.breadth
        asked = cloud(200, 2, 50)
        right, found = (cache.search(asked, 10, kind=name) for name in ("exact", kind))
        pairs = list(zip(right.rows.tolist(), found.rows.tolist(), strict=True))
        # The target was met with 50 queries; these are 200 others.
        assert np.mean([len(set(a) & set(b)) for a, b in pairs]) > (8.5 if kind == "hnsw" else 9.0)
        for query, (a, b) in enumerate(pairs):
            if a == b:
                assert found.scores[query].tolist() == right.scores[query].tolist()


def test_a_higher_target_searches_more_widely(long_cache: Path) -> None:
    low, high = built(long_cache, "ivf", 0.5), built(long_cache, "ivf", 0.999)
    assert low.breadth is not None and high.breadth is not None and low.breadth < high.breadth
    with pytest.raises(UsageError, match="bad recall"):
        built(long_cache, "ivf", 1.5)


@pytest.mark.parametrize("kind", ["ivf", "ivfpq"])
def test_the_same_data_give_the_same_index(long_cache: Path, kind: str) -> None:
    assert built(long_cache, kind).files == built(long_cache, kind).files


def test_any_number_of_neighbours(long_cache: Path) -> None:
    built(long_cache, "ivf")
    with open_cache(long_cache) as cache:
        for k in (1, 500, ROWS):
            rows = cache.search(cloud(2, 3, 50), k, kind="ivf").rows
            assert rows.min() >= 0
            assert all(len(set(line)) == k for line in rows.tolist())


def test_a_flipped_bit_in_either_file_is_found(long_cache: Path) -> None:
    built(long_cache, "ivf")
    with open_cache(long_cache) as cache:
        index = cache.manifest.index("ivf")
    assert index is not None
    for file in index.files:
        flip_bit(long_cache / file.path, 4 * file.bytes)
        with open_cache(long_cache) as cache, pytest.raises(DamagedError, match="its hash"):
            cache.search(cloud(1, 3, 50), 3, kind="ivf")
        flip_bit(long_cache / file.path, 4 * file.bytes)
