"""Recordings as queries of `index` and `report`, in the space `tiny`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cache_store.cache import open_cache
from cache_store.clips import embed_clips, read_clips
from cache_store.errors import EmptyInputError, SpaceMismatchError, UsageError
from cache_store.spaces import load_space
from cache_store.spaces.tiny.recordings import write_recordings
from pipeline.embed import embed_cache
from pipeline.importing import import_captions
from pipeline.indexing import index_cache
from pipeline.join import join_clips
from pipeline.queries import Queries, read_queries
from pipeline.report import write_report
from tests.pipeline.materials import captions, write_lines, write_vectors

KINDS = ("dog", "rain", "siren", "bell")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight recordings of a second, and one file that is none."""
    folder = tmp_path_factory.mktemp("audio")
    write_recordings(folder, KINDS, 2, seed=3, seconds=1.0)
    (folder / "broken.wav").write_text("no audio")
    return folder


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("queries")
    import_captions(folder / "c", write_lines(folder / "in.txt", captions(80)))
    embed_cache(folder / "c", space="tiny", device="cpu", workers=1)
    return folder / "c"


@pytest.fixture
def cache(tmp_path: Path, embedded: Path) -> Path:
    shutil.copytree(embedded, tmp_path / "cache")
    return tmp_path / "cache"


def heard(audio: Path, names: tuple[str, ...] = ()) -> np.ndarray:
    """What `tiny` makes of the recordings, in the order of the folder."""
    table = read_clips(audio)
    rows = [row for row, name in enumerate(table.names) if name in names or not names]
    rows = [row for row in rows if table.names[row] != "broken.wav"]
    table = table.select(rows)
    return np.stack([vector for _, vector in embed_clips(table, load_space("tiny", device="cpu"))])


def test_a_folder_is_heard_with_the_caches_model_and_kept(cache: Path, audio: Path) -> None:
    with open_cache(cache) as store:
        asked = read_queries(store, audio, most=100, device="cpu")
        assert (asked.name, asked.heard, asked.vectors.shape) == (audio.name, 8, (8, 128))
        np.testing.assert_array_equal(asked.vectors, heard(audio))
        ((name, reason),) = asked.rejects
        assert name == "broken.wav" and reason
        (kept,) = (cache / "grow").iterdir()
        before = kept.stat().st_mtime_ns
        again = read_queries(store, audio, most=100, device="cpu")
        np.testing.assert_array_equal(again.vectors, asked.vectors)
        assert kept.stat().st_mtime_ns == before
        assert len(read_queries(store, audio, most=3, device="cpu").vectors) <= 3


def test_a_list_and_a_joined_file_give_the_same_vectors(
    cache: Path, audio: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in audio.iterdir() if path.name != "broken.wav")[:4]
    listed = tmp_path / "clips.csv"
    listed.write_text("path\n" + "".join(f"{audio / name}\n" for name in names))
    joined = tmp_path / "clips.parquet"
    join_clips(cache, listed, joined, k=2, device="cpu", workers=1)
    with open_cache(cache) as store:
        plain = read_queries(store, listed, most=100, device="cpu")
        stored = read_queries(store, joined, most=1)
    assert (plain.heard, stored.heard, stored.rejects) == (4, 0, ())
    np.testing.assert_array_equal(plain.vectors, heard(audio, tuple(names)))
    # Two ways to batch the same clips: float32 sums in another order.
    np.testing.assert_allclose(stored.vectors, plain.vectors, atol=1e-5)


def test_an_index_is_tuned_and_centred_with_recordings(cache: Path, audio: Path) -> None:
    report = index_cache(cache, kind="hnsw", queries=audio, centre=True, device="cpu")
    assert (report.heard, report.built.recall_queries) == (8, "given")
    assert report.built.recall is not None and report.built.recall > 0.9  # 80 rows: nearly all
    assert [name for name, _ in report.rejects] == ["broken.wav"]
    assert report.means is not None and report.means.recordings == 8
    assert report.means.audio is not None
    expected = heard(audio).astype(np.float64).mean(axis=0).astype(np.float32)
    np.testing.assert_array_equal(report.means.audio, expected)


def test_a_report_meets_recordings(cache: Path, audio: Path) -> None:
    _, facts = write_report(cache, queries=audio, device="cpu")
    meeting = facts.meeting
    assert meeting is not None
    assert (meeting.name, meeting.clips, meeting.rejected) == (audio.name, 8, 1)
    with open_cache(cache) as store:
        mean = store.embeddings.astype(np.float64).mean(axis=0)
    gap = np.linalg.norm(heard(audio).astype(np.float64).mean(axis=0) - mean)
    assert meeting.gap == pytest.approx(gap, abs=1e-5)  # float16 rows, summed in blocks


def test_a_bad_request_is_told_before_anything_is_heard(cache: Path, audio: Path) -> None:
    with pytest.raises(UsageError, match="bad recall"):
        index_cache(cache, kind="ivf", queries=audio, recall=2.0)
    assert not (cache / "grow").exists()


def test_audio_that_cannot_be_heard_is_refused(cache: Path, tmp_path: Path, audio: Path) -> None:
    with pytest.raises(UsageError, match="no-such"):
        index_cache(cache, queries=tmp_path / "no-such")
    silent = tmp_path / "silent"
    silent.mkdir()
    shutil.copy(audio / "broken.wav", silent)
    with pytest.raises(EmptyInputError, match="broken"):
        index_cache(cache, queries=silent, device="cpu")
    table = write_vectors(tmp_path / "table.parquet", captions(80))
    with pytest.raises(SpaceMismatchError):
        index_cache(cache, queries=audio, space=f"stored:{table}")


def test_a_space_without_an_audio_tower_cannot_hear(tmp_path: Path, audio: Path) -> None:
    table = write_vectors(tmp_path / "table.parquet", captions(20))
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", captions(20)))
    embed_cache(tmp_path / "c", space=f"stored:{table}", device="cpu", workers=1)
    with open_cache(tmp_path / "c") as store, pytest.raises(UsageError, match="no audio tower"):
        read_queries(store, audio, most=10, space=f"stored:{table}")


def test_spread_takes_evenly_and_at_most_so_many() -> None:
    queries = Queries("x", np.arange(10, dtype=np.float32)[:, None])
    assert queries.spread(100)[:, 0].tolist() == list(range(10))
    assert queries.spread(4)[:, 0].tolist() == [0, 3, 6, 9]
    assert len(queries.spread(1)) == 1
