"""Caches that earlier versions wrote (tests/assets) are read, searched, verified and added to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache_store.cache import open_cache
from cache_store.errors import UsageError
from cache_store.manifest import CENTRING, manifest_numbers, read_manifest
from cache_store.shards import read_table
from cache_store.verify import verify_cache
from pipeline.embed import embed_cache
from pipeline.importing import import_captions
from tests.assets.golden import QUERIES, K, audio

ASSETS = Path(__file__).parents[1] / "assets"
CACHES = sorted(path.with_suffix("") for path in ASSETS.glob("format-*/*/*.json"))


@pytest.fixture(params=CACHES, ids=lambda path: path.relative_to(ASSETS).as_posix())
def golden(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def expected(golden: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(golden.with_suffix(".json").read_text(encoding="utf-8"))
    return record


def files_of(cache: Path) -> list[str]:
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())


def test_there_are_golden_caches() -> None:
    assert len(CACHES) >= 2


def test_every_value_is_read_as_it_was_written(golden: Path, expected: dict[str, Any]) -> None:
    with open_cache(golden) as cache:
        manifest = cache.manifest
        rows = list(range(expected["rows"]))
        assert (manifest.number, manifest.rows, len(cache)) == (
            expected["manifest"],
            expected["rows"],
            expected["live"],
        )
        assert vars(cache.space) == expected["space"]
        assert cache.ids(rows) == expected["ids"]
        assert cache.captions(rows) == expected["captions"]
        assert cache.concepts(rows) == expected["concepts"]
        assert list(manifest.tombstones) == expected["tombstones"]
        # float16 and float32 are exact as JSON numbers: no tolerance.
        matrix = np.asarray(cache.embeddings)
        assert matrix.dtype.name == expected["dtype"]
        assert np.asarray(matrix, dtype=np.float64).tolist() == expected["embeddings"]
    for kind, entries in (("texts", manifest.captions), ("rejects", manifest.rejects)):
        read = [row for entry in entries for row in read_table(golden / entry.path).to_pylist()]
        assert read == expected[kind]


def test_every_kind_of_search_finds_what_it_found(golden: Path, expected: dict[str, Any]) -> None:
    with open_cache(golden) as cache:
        kinds = [entry.kind for entry in cache.manifest.indexes if entry.kind != CENTRING]
        assert {*kinds} >= {"exact", "flat", "hnsw"}
        for kind in kinds:
            hits = cache.search(np.array(cache.embeddings[:QUERIES], dtype=np.float32), K, kind)
            assert hits.ids.tolist() == expected["hits"]["ids"]
            # Sums of products in another order, on another processor: a few float32 roundings.
            np.testing.assert_allclose(hits.scores, expected["hits"]["scores"], atol=1e-6)
            assert not set(expected["tombstones"]) & set(hits.ids.flatten().tolist())


def test_a_centred_search_finds_what_it_found(golden: Path, expected: dict[str, Any]) -> None:
    with open_cache(golden) as cache:
        if "centred" not in expected:  # older than the means
            with pytest.raises(UsageError, match="--centre"):
                cache.search(audio(cache.dim), K, centred=True)
            return
        means = cache.means()
        assert means.audio is not None
        assert [means.text.tolist(), means.audio.tolist()] == expected["means"]
        hits = cache.search(audio(cache.dim)[:QUERIES], K, centred=True)
    assert hits.ids.tolist() == expected["centred"]["ids"]
    np.testing.assert_allclose(hits.scores, expected["centred"]["scores"], atol=1e-6)


def test_it_is_whole_and_reading_leaves_no_trace(golden: Path, expected: dict[str, Any]) -> None:
    report = verify_cache(golden)
    assert report.faults == []
    # A card of another version is whole, and written anew by the next command.
    assert all(note.startswith("README.md: ") for note in report.notes)
    with open_cache(golden) as cache:
        assert cache.stats()["removed"] == 1
        assert len(cache.as_dataset()) == expected["live"]
    assert files_of(golden) == expected["files"]


def test_its_older_manifests_are_read(golden: Path, expected: dict[str, Any]) -> None:
    numbers = manifest_numbers(golden)
    assert numbers == list(range(1, expected["manifest"] + 1))
    steps = [len(read_manifest(golden, number).provenance) for number in numbers]
    assert steps == numbers


def test_it_can_be_added_to(golden: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(golden, cache)
    (tmp_path / "more.txt").write_text("a clock ticks\n", encoding="utf-8")
    import_captions(cache, tmp_path / "more.txt")
    if expected["space"]["name"] == "tiny":
        embed_cache(cache, workers=1)
    report = verify_cache(cache)
    assert report.faults == []
    with open_cache(cache) as store:
        assert store.ids(list(range(expected["rows"]))) == expected["ids"]
        assert len(store) in (expected["live"], expected["live"] + 1)
