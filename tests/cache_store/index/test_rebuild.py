"""What `compact` and `repair` make of an index that recordings had a part in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.cache import open_cache
from cache_store.compact import compact_cache
from cache_store.index.build import build_index
from cache_store.index.means import store_means
from cache_store.index.tuning import MEASURED_BEFORE
from cache_store.manifest import CENTRING, IndexEntry, named_space
from cache_store.removing import remove_captions
from cache_store.repair import repair_cache
from cache_store.shards import from_matrix
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import caption_table, flip_bit, unit_rows

ROWS, DIM = 900, 64  # longer than what an IVF reduces vectors to
AUDIO = unit_rows(60, DIM, seed=5, dtype="float32")
MEAN = AUDIO.mean(axis=0)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    with open_writer(path) as writer:
        vectors = from_matrix(unit_rows(ROWS, DIM))
        table = caption_table(ROWS).append_column("embedding", vectors)
        writer.publish(data=[writer.write_data(table, named_space("theirs", DIM))])
        build_index(writer, "exact")
    return path


def build(path: Path, kind: str, queries: np.ndarray | None = AUDIO) -> IndexEntry:
    with open_writer(path) as writer:
        build_index(writer, kind, queries=queries, target=0.8)
    return entry_of(path, kind)


def store(path: Path) -> None:
    with open_writer(path) as writer:
        store_means(writer, MEAN, len(AUDIO))


def entry_of(path: Path, kind: str) -> IndexEntry:
    with open_cache(path) as cache:
        entry = cache.manifest.index(kind)
        assert entry is not None and cache.manifest.is_fresh(entry)
        return entry


def remove_some(path: Path) -> None:
    with open_cache(path) as cache:
        ids = cache.ids(range(0, ROWS, 10))
    remove_captions(path, ids=ids)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivfpq"])
def test_what_audio_tuned_stays_and_is_said_to_be_older(cache: Path, kind: str) -> None:
    old = build(cache, kind)
    name = "ef_search" if kind == "hnsw" else "nprobe"
    remove_some(cache)
    report = compact_cache(cache)
    (note,) = report.notes
    assert f"the {kind} index keeps {name} {old.params[name]}" in note
    assert f"--kind {kind} --queries" in note
    new = entry_of(cache, kind)
    for key in (name, "curve", "recall_at_10", "target_recall", "recall_queries"):
        assert new.params[key] == old.params[key]
    assert new.params["recall_measured"] == MEASURED_BEFORE
    assert "recall_measured" not in old.params
    # The space that audio shaped is the same file.
    assert new.files[1:] == old.files[1:]
    assert len(new.files) == (1 if kind == "hnsw" else 2)
    assert new.files[0] != old.files[0]
    with open_cache(cache) as store:
        asked = AUDIO + np.float32(0.01)
        right, found = (store.search(asked, 10, one).rows.tolist() for one in ("exact", kind))
        shared = [len(set(a) & set(b)) for a, b in zip(right, found, strict=True)]
        assert np.mean(shared) > 7  # tuned to 8 of 10, for 990 rows and not 810
    assert verify_cache(cache).faults == []
    again = build(cache, kind)
    assert "recall_measured" not in again.params


def test_what_captions_tuned_is_tuned_anew(cache: Path) -> None:
    build(cache, "ivf", None)
    remove_some(cache)
    report = compact_cache(cache)
    assert (report.notes, report.indexes) == ([], ["exact", "ivf"])
    params = entry_of(cache, "ivf").params
    assert params["recall_queries"] == "captions" and "recall_measured" not in params


def test_a_damaged_index_is_repaired_as_it_was_tuned(cache: Path) -> None:
    old = build(cache, "ivf")
    flip_bit(cache / old.files[0].path, 5000)
    report = repair_cache(cache)
    assert report.whole and any("keeps nprobe" in note for note in report.notes)
    new = entry_of(cache, "ivf")
    assert new.params["nprobe"] == old.params["nprobe"]
    assert new.files == old.files  # the same rows in the same space


def test_without_the_shaped_space_captions_tune(cache: Path) -> None:
    old = build(cache, "ivf")
    flip_bit(cache / old.files[1].path, 5000)
    report = repair_cache(cache)
    assert report.whole and any("is now with captions" in note for note in report.notes)
    assert entry_of(cache, "ivf").params["recall_queries"] == "captions"


def test_means_are_of_what_is_left_and_the_audio_mean_stays(cache: Path) -> None:
    store(cache)
    remove_some(cache)
    report = compact_cache(cache)
    assert (report.notes, report.indexes) == ([], ["exact", CENTRING])
    with open_cache(cache) as opened:
        means = opened.means()
        rows = np.asarray(opened.embeddings, dtype=np.float64)
        np.testing.assert_array_equal(means.text, rows.mean(axis=0).astype(np.float32))
        assert means.audio is not None and means.audio.tolist() == MEAN.tolist()
        assert (means.captions, means.recordings) == (810, 60)
        assert opened.search(AUDIO, 3, centred=True).centred


def test_damaged_means_lose_the_audio_mean_and_say_so(cache: Path) -> None:
    store(cache)
    flip_bit(cache / entry_of(cache, CENTRING).files[0].path, 1200)
    report = repair_cache(cache)
    assert report.whole and any("the audio mean is gone" in note for note in report.notes)
    with open_cache(cache) as opened:
        assert opened.means().audio is None
        assert opened.means().captions == ROWS
