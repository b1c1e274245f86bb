from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from numpy.typing import NDArray

from cache_store.cache import open_cache
from cache_store.clips import read_clips
from cache_store.errors import (
    DataError,
    EmptyInputError,
    SpaceMismatchError,
    StorageError,
    UsageError,
)
from pipeline.importing import import_captions
from pipeline.indexing import index_cache
from pipeline.join import join_clips
from tests.pipeline.materials import DIM, captions, write_lines, write_vectors

N, CLIPS = 30, 6


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    source = write_vectors(tmp_path / "texts.parquet", captions(N), space="theirs")
    import_captions(tmp_path / "cache", source, embeddings=True)
    return tmp_path / "cache"


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Six recordings of a second, in two folders."""
    folder = tmp_path / "audio"
    for number in range(CLIPS):
        path = folder / ("dog" if number % 2 else "rain") / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 8000)
        soundfile.write(path, noise * np.linspace(1, number, 8000) / CLIPS, 8000)
    return folder


def stored_manifest(recordings: Path, space: str = "theirs") -> tuple[Path, NDArray[np.float32]]:
    """A manifest of the recordings with random unit embeddings, and those."""
    paths = sorted(path.relative_to(recordings).as_posix() for path in recordings.rglob("*.wav"))
    vectors = np.random.default_rng(7).standard_normal((len(paths), DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = pa.table(
        {
            "path": paths,
            "label": [path.split("/")[0] for path in paths],
            "fold": list(range(len(paths))),
            "embedding": pa.array(vectors.tolist(), pa.list_(pa.float32(), DIM)),
        }
    ).replace_schema_metadata({"lqtse.space": space})
    pq.write_table(table, recordings / "clips.parquet")
    return recordings / "clips.parquet", vectors


def test_stored_embeddings_find_their_nearest_captions(
    cache: Path, recordings: Path, tmp_path: Path
) -> None:
    manifest, vectors = stored_manifest(recordings)
    output = tmp_path / "out" / "joined.parquet"
    output.parent.mkdir()
    report = join_clips(cache, manifest, output, k=4)
    assert (report.clips, report.rejected, report.k, report.stored) == (CLIPS, 0, 4, True)
    table = pq.read_table(output)
    with open_cache(cache) as store:
        products = vectors.astype(np.float64) @ store.embeddings.astype(np.float64).T
        rows = np.array(table.column("neighbour_rows").to_pylist())
        np.testing.assert_array_equal(rows, np.argsort(-products, axis=1)[:, :4])
        scores = np.array(table.column("neighbour_scores").to_pylist())
        # Sums of 16 products in float32.
        np.testing.assert_allclose(scores, np.take_along_axis(products, rows, 1), atol=1e-6)
        assert table.column("neighbour_ids").to_pylist() == store.ids(rows)
        facts = table.schema.metadata
        assert facts[b"lqtse.data_hash"].decode() == store.manifest.data_hash()
        assert facts[b"lqtse.fingerprint"].decode() == store.space.fingerprint
        means = vectors.mean(axis=0) - np.asarray(store.embeddings).mean(axis=0)
    assert report.gap == pytest.approx(float(np.linalg.norm(means)), abs=1e-6)
    assert report.best_score == pytest.approx(float(products.max(axis=1).mean()), abs=1e-6)


def test_the_file_is_a_manifest_of_the_same_clips(
    cache: Path, recordings: Path, tmp_path: Path
) -> None:
    manifest, vectors = stored_manifest(recordings)
    output = tmp_path / "joined.parquet"
    join_clips(cache, manifest, output, k=2, where="fold != 3")
    again = read_clips(output)
    assert len(again) == CLIPS - 1
    assert all(path.is_file() for path in again.paths)
    assert list(again.label or ()) == ["dog"] * 3 + ["rain"] * 2
    assert list(again.fold or ()) == [0, 1, 2, 4, 5]
    assert again.space is not None and again.space.name == "theirs"
    np.testing.assert_allclose(again.embeddings, np.delete(vectors, 3, axis=0), atol=1e-6)
    # And so it can be joined again, with other neighbours.
    join_clips(cache, output, tmp_path / "more.parquet", k=5)
    assert len(pq.read_table(tmp_path / "more.parquet").column("neighbour_ids")[0]) == 5


def test_recordings_are_embedded_and_bad_ones_named(recordings: Path, tmp_path: Path) -> None:
    from pipeline.embed import embed_cache

    cache = tmp_path / "tiny"
    import_captions(cache, write_lines(tmp_path / "in.txt", captions(9)))
    embed_cache(cache, space="tiny")
    (recordings / "empty.wav").touch()
    (recordings / "text.wav").write_text("no audio")
    soundfile.write(recordings / "nan.wav", np.full(8000, np.nan), 8000, subtype="FLOAT")
    soundfile.write(recordings / "none.wav", np.zeros(0), 8000)
    output = tmp_path / "clips.parquet"
    rows: list[int] = []
    report = join_clips(
        cache,
        recordings,
        output,
        k=9,
        label_from_folder=True,
        progress=lambda total: _Recorder(rows, total),
    )
    assert (report.clips, report.rejected, report.space) == (CLIPS, 4, "tiny")
    assert sum(rows) == CLIPS + 4
    assert report.rejects_file is not None
    with report.rejects_file.open(newline="", encoding="utf-8") as file:
        named = {row["name"] for row in csv.DictReader(file)}
    assert named == {"empty.wav", "text.wav", "nan.wav", "none.wav"}
    table = pq.read_table(output)
    assert table.column("label").to_pylist() == ["dog"] * 3 + ["rain"] * 3
    vectors = np.array(table.column("embedding").to_pylist())
    # float32 rows of unit norm.
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    # The bad ones are mended: the next run leaves no list of them behind.
    for name in named:
        (recordings / name).unlink()
    report = join_clips(cache, recordings, output, k=1)
    assert report.rejects_file is None
    assert not output.with_suffix(".rejects.csv").exists()
    np.testing.assert_array_equal(
        vectors, np.array(pq.read_table(output).column("embedding").to_pylist())
    )


class _Recorder:
    def __init__(self, rows: list[int], total: int) -> None:
        assert total == CLIPS + 4
        self.rows = rows

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self.rows.append

    def __exit__(self, *_: object) -> None:
        pass


def test_audio_of_another_space_is_refused(cache: Path, recordings: Path, tmp_path: Path) -> None:
    manifest, _ = stored_manifest(recordings, space="another")
    with pytest.raises(SpaceMismatchError, match=r"theirs.*another"):
        join_clips(cache, manifest, tmp_path / "o.parquet")


def test_recordings_need_a_model_of_the_caches_space(
    cache: Path, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="theirs"):
        join_clips(cache, recordings, tmp_path / "o.parquet")
    with pytest.raises(SpaceMismatchError, match=r"theirs.*tiny"):
        join_clips(cache, recordings, tmp_path / "o.parquet", space="tiny")
    stored = f"stored:{tmp_path / 'texts.parquet'}"
    with pytest.raises(UsageError, match="no audio tower"):
        join_clips(cache, recordings, tmp_path / "o.parquet", space=stored)


@pytest.mark.parametrize("k", [0, N + 1])
def test_so_many_neighbours_are_not_there(
    cache: Path, recordings: Path, tmp_path: Path, k: int
) -> None:
    manifest, _ = stored_manifest(recordings)
    with pytest.raises(UsageError, match=r"-k"):
        join_clips(cache, manifest, tmp_path / "o.parquet", k=k)


def test_nothing_of_the_users_is_replaced(cache: Path, recordings: Path, tmp_path: Path) -> None:
    manifest, _ = stored_manifest(recordings)
    before = manifest.read_bytes()
    with pytest.raises(UsageError, match="exists and was not written by this command"):
        join_clips(cache, manifest, manifest)
    joined = tmp_path / "joined.parquet"
    join_clips(cache, manifest, joined, k=1)
    with pytest.raises(UsageError, match="output is the input"):
        join_clips(cache, joined, joined)
    (tmp_path / "notes.parquet").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.parquet"):
        join_clips(cache, manifest, tmp_path / "notes.parquet")
    with pytest.raises(UsageError, match="Parquet"):
        join_clips(cache, manifest, tmp_path / "joined.csv")
    assert manifest.read_bytes() == before
    assert (tmp_path / "notes.parquet").read_text() == "mine"


def test_an_output_that_cannot_be_written_is_told_before_the_work(
    cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        join_clips(cache, tmp_path / "no-audio", tmp_path / "nowhere" / "o.parquet")
    with pytest.raises(StorageError, match="cannot write"):
        join_clips(cache, tmp_path / "no-audio", "/proc/o.parquet")


def test_a_fault_while_writing_leaves_the_old_file(
    cache: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, _ = stored_manifest(recordings)
    output = tmp_path / "o.parquet"
    join_clips(cache, manifest, output, k=1)
    before = output.read_bytes()

    def full(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("cache_store.shards.write_tables", full)
    with pytest.raises(StorageError, match="disk is full"):
        join_clips(cache, manifest, output, k=2)
    assert output.read_bytes() == before
    assert not list(tmp_path.glob(".tmp-*"))


def test_no_audio_is_an_error(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "silent").mkdir()
    with pytest.raises(EmptyInputError):
        join_clips(cache, tmp_path / "silent", tmp_path / "o.parquet")
    with pytest.raises(UsageError, match="nowhere"):
        join_clips(cache, tmp_path / "nowhere", tmp_path / "o.parquet")


def test_a_cache_without_embeddings_is_an_error(recordings: Path, tmp_path: Path) -> None:
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", captions(3)))
    with pytest.raises(DataError, match="lqtse-cache embed"):
        join_clips(tmp_path / "c", recordings, tmp_path / "o.parquet")


def test_centred_neighbours_are_told_apart(cache: Path, recordings: Path, tmp_path: Path) -> None:
    manifest, vectors = stored_manifest(recordings)
    output = tmp_path / "joined.parquet"
    with pytest.raises(UsageError, match="--centre"):
        join_clips(cache, manifest, output, k=4, centred=True)
    index_cache(cache, centre=True)
    with pytest.raises(UsageError, match="no audio mean"):
        join_clips(cache, manifest, output, k=4, centred=True)
    index_cache(cache, centre=True, queries=manifest)
    assert not output.exists()
    report = join_clips(cache, manifest, output, k=4, centred=True)
    assert report.centred and report.kind == "exact"
    assert "30 captions and 6 recordings" in report.reason
    with open_cache(cache) as store:
        texts = store.embeddings.astype(np.float64)
    audio, texts = (one - one.mean(axis=0) for one in (vectors.astype(np.float64), texts))
    audio, texts = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (audio, texts))
    table = pq.read_table(output)
    rows = np.array(table.column("neighbour_rows").to_pylist())
    np.testing.assert_array_equal(rows, np.argsort(-audio @ texts.T, axis=1)[:, :4])
    facts = table.schema.metadata
    assert facts[b"lqtse.centred"] == b"yes" and len(facts[b"lqtse.centring"]) == 64
    join_clips(cache, manifest, output, k=4)
    facts = pq.read_schema(output).metadata
    assert facts[b"lqtse.centred"] == b"no" and b"lqtse.centring" not in facts


def test_an_audio_mean_stays_until_there_is_another(cache: Path, recordings: Path) -> None:
    manifest, vectors = stored_manifest(recordings)
    index_cache(cache, centre=True, queries=manifest)
    report = index_cache(cache, centre=True)
    assert report.means is not None and report.means.recordings == CLIPS
    assert report.means.audio is not None
    # Summed in float64, rounded once to float32.
    expected = vectors.astype(np.float64).mean(axis=0).astype(np.float32)
    np.testing.assert_array_equal(report.means.audio, expected)
