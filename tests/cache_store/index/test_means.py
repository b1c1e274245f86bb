"""Means that are stored, and searches that take them off, against plain numpy in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache_store.cache import Cache, open_cache
from cache_store.errors import DamagedError, MismatchError, StaleIndexError, UsageError
from cache_store.index.build import build_index
from cache_store.index.means import Means, store_means
from cache_store.manifest import CENTRING
from cache_store.removing import remove_captions
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import DIM, add_step, flip_bit, unit_rows

AUDIO = unit_rows(30, seed=99, dtype="float32") + np.float32(0.4)
AUDIO /= np.linalg.norm(AUDIO, axis=1, keepdims=True)
MEAN = AUDIO.mean(axis=0, dtype=np.float64).astype(np.float32)


def stored(path: Path, audio: np.ndarray[Any, Any] | None = MEAN, kept: bool = False) -> Means:
    with open_writer(path) as writer:
        old = writer.current.index(CENTRING) if kept else None
        return store_means(writer, audio, 0 if audio is None else len(AUDIO), old)


def oracle(cache: Cache, queries: Any, mean: Any, k: int) -> tuple[Any, Any]:
    """Scores and rows, best first, of rows that were not removed."""
    rows = cache.live_rows
    texts = np.asarray(cache.embeddings, dtype=np.float64)[rows]
    texts = texts - texts.mean(axis=0)
    asked = np.asarray(queries, dtype=np.float64)
    asked = asked / np.linalg.norm(asked, axis=1, keepdims=True) - mean
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    cosines = asked @ texts.T
    order = np.argsort(-cosines, axis=1)[:, :k]
    return np.take_along_axis(cosines, order, axis=1), rows[order]


def test_a_search_can_be_centred_and_says_so(indexed_path: Path) -> None:
    means = stored(indexed_path)
    assert (means.captions, means.recordings) == (65, 30)
    with open_cache(indexed_path) as cache:
        hits = cache.search(3 * AUDIO, 5, centred=True)
        scores, rows = oracle(cache, AUDIO, MEAN, 5)
        np.testing.assert_array_equal(hits.rows, rows)
        # Centred rows and their products are rounded to float32.
        np.testing.assert_allclose(hits.scores, scores, atol=1e-6)
        assert hits.kind == "exact" and hits.centred
        assert hits.reason == "centred by the means of 65 captions and 30 recordings"
        assert hits.ids.tolist() == cache.ids(rows)
        plain = cache.search(AUDIO, 5)
        assert not plain.centred and "centred" not in plain.reason
        assert not np.array_equal(plain.rows, hits.rows)
        again = cache.search(3 * AUDIO[:1], 5, centred=True)
        np.testing.assert_array_equal(again.scores, hits.scores[:1])


def test_the_means_are_those_of_the_rows(cache_path: Path) -> None:
    remove_captions(cache_path, where='caption == "sound number 3 of the café"')
    stored(cache_path)
    with open_cache(cache_path) as cache:
        means = cache.means()
        rows = np.asarray(cache.embeddings, dtype=np.float64)[cache.live_rows]
        assert means.captions == 64
        np.testing.assert_array_equal(means.text, rows.mean(axis=0).astype(np.float32))
        assert means.audio is not None
        np.testing.assert_array_equal(means.audio, MEAN)
        scores, rows = oracle(cache, AUDIO, MEAN, 64)
        hits = cache.search(AUDIO, 64, centred=True)
        np.testing.assert_allclose(hits.scores, scores, atol=1e-6)
    report = verify_cache(cache_path)
    assert (report.faults, report.notes) == ([], [])


def test_texts_ask_with_the_mean_of_texts(cache_path: Path) -> None:
    stored(cache_path, None)
    with open_cache(cache_path) as cache:
        with pytest.raises(UsageError, match="no audio mean"):
            cache.search(AUDIO, 3, centred=True)
        mean = cache.means().text
        queries = np.asarray(cache.embeddings[:4], dtype=np.float32)
        hits = cache.search(queries, 3, centred=True, query_mean=mean)
        assert hits.rows[:, 0].tolist() == [0, 1, 2, 3]
        np.testing.assert_allclose(hits.scores[:, 0], 1.0, atol=1e-5)
        np.testing.assert_allclose(hits.scores, oracle(cache, queries, mean, 3)[0], atol=1e-5)
        assert hits.reason.endswith("with a mean of the queries that was given")
        other = cache.search(queries, 3, centred=True, query_mean=MEAN)
        assert other.centring != hits.centring


def test_what_was_not_stored_is_not_made_up(indexed_path: Path) -> None:
    with open_cache(indexed_path) as cache:
        with pytest.raises(UsageError, match="--centre --queries CLIPS"):
            cache.search(AUDIO, 3, centred=True)
        with pytest.raises(UsageError, match="centred=True"):
            cache.search(AUDIO, 3, query_mean=MEAN)
    stored(indexed_path)
    with open_cache(indexed_path) as cache:
        for kind in ("flat", "hnsw"):
            with pytest.raises(UsageError, match="a centred search is exact"):
                cache.search(AUDIO, 3, kind, centred=True)
        with pytest.raises(UsageError, match="cache's width"):
            cache.search(AUDIO, 3, centred=True, query_mean=MEAN[:5])
        with pytest.raises(MismatchError, match="width"):
            cache.search(AUDIO[:, :5], 3, centred=True)


@pytest.mark.parametrize("change", ["add", "remove"])
def test_means_of_other_captions_are_not_used(cache_path: Path, change: str) -> None:
    stored(cache_path)
    if change == "add":
        add_step(cache_path, 5, first=200)
    else:
        remove_captions(cache_path, where='caption == "sound number 3 of the café"')
    with open_cache(cache_path) as cache:
        with pytest.raises(StaleIndexError, match="--centre"):
            cache.search(AUDIO, 3, centred=True)
        assert "centring" not in cache.search(AUDIO, 3).reason
        assert cache.stats()["means for centring"].endswith("older than the captions")
    assert stored(cache_path, None, kept=True).recordings == 30
    with open_cache(cache_path) as cache:
        assert cache.stats()["means for centring"].endswith("captions, 30 recordings")
        scores = cache.search(AUDIO, 3, centred=True).scores
        np.testing.assert_allclose(scores, oracle(cache, AUDIO, MEAN, 3)[0], atol=1e-6)


def test_building_an_index_leaves_the_means(cache_path: Path) -> None:
    stored(cache_path)
    with open_writer(cache_path) as writer:
        build_index(writer, "flat")
        assert [entry.kind for entry in writer.current.indexes] == ["exact", "flat", "centring"]
    add_step(cache_path, 5, first=200)
    with open_writer(cache_path) as writer:
        build_index(writer, "exact")
        assert [entry.kind for entry in writer.current.indexes] == ["exact", "centring"]
    with open_cache(cache_path) as cache:
        assert cache.stats()["indexes"] == {"exact": "fresh"}


def test_every_flipped_bit_is_found(cache_path: Path) -> None:
    stored(cache_path)
    with open_cache(cache_path) as cache:
        entry = cache.manifest.index(CENTRING)
    assert entry is not None
    (file,) = entry.files
    assert file.bytes == 128 + 2 * 4 * DIM
    for bit in range(0, 8 * file.bytes, 97):
        turn_back = flip_bit(cache_path / file.path, bit)
        with open_cache(cache_path) as cache, pytest.raises(DamagedError, match="its hash"):
            cache.search(AUDIO, 3, centred=True)
        turn_back()
    flip_bit(cache_path / file.path, 8 * 150)
    assert [fault.path for fault in verify_cache(cache_path).faults] == [file.path]
