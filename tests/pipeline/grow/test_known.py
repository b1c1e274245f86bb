"""Growing in a stored space: which captions of the table are picked, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cache_store import open_cache
from cache_store.errors import SpaceMismatchError
from cache_store.removing import remove_captions
from cache_store.text import caption_id
from pipeline.grow.known import KnownReport, grow_from_table, nearest_captions, pick
from pipeline.grow.prepare import Audio
from pipeline.importing import import_captions
from tests.pipeline.materials import DIM, unit_vector, write_vectors

TEXTS = tuple(f"sound number {number}" for number in range(6))


def recordings(path: Path, sounds: list[int], *, space: str = "elsewhere") -> Path:
    """A manifest of recordings that each lie close to one text of the table."""
    rng = np.random.default_rng(1)
    vectors = [unit_vector(TEXTS[sound]) + 0.05 * rng.standard_normal(DIM) for sound in sounds]
    unit = [vector / np.linalg.norm(vector) for vector in vectors]
    names = [f"{number}.wav" for number in range(len(sounds))]
    write_vectors(path, names, np.array(unit), space=space)
    table = pq.read_table(path).rename_columns(["path", "embedding"])
    pq.write_table(table.replace_schema_metadata({"lqtse.space": space}), path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_vectors(tmp_path / "texts.parquet", TEXTS)


@pytest.fixture
def cache(tmp_path: Path, table: Path) -> Path:
    where = f"caption in {TEXTS[:2]!r}"
    import_captions(tmp_path / "cache", table, embeddings=True, where=where)
    return tmp_path / "cache"


def grow(
    cache: Path, audio: Path, table: Path, n: int | None = None, publish: bool = True
) -> KnownReport:
    return grow_from_table(cache, Audio(audio), f"stored:{table}", n=n, publish=publish)


def test_captions_that_recordings_are_nearest_to_are_added_most_needed_first(
    cache: Path, table: Path, tmp_path: Path
) -> None:
    audio = recordings(tmp_path / "clips.parquet", [0, 3, 3, 3, 5, 1])
    measured = grow(cache, audio, table, publish=False)
    assert measured.picked == {TEXTS[3]: 3, TEXTS[5]: 1}
    assert (measured.added, measured.captions) == (0, 2)
    assert measured.covered.tolist() == [True, False, False, False, False, True]
    first = grow(cache, audio, table, n=1)
    assert (first.picked, first.left, first.added) == ({TEXTS[3]: 3}, 1, 1)
    assert first.covered_after.tolist() == [True, True, True, True, False, True]
    assert grow(cache, audio, table).picked == {TEXTS[5]: 1}
    with open_cache(cache) as store:
        assert store.captions(range(4)) == [*TEXTS[:2], TEXTS[3], TEXTS[5]]
        assert store.embeddings[2] == pytest.approx(unit_vector(TEXTS[3]), abs=1e-6)
        manifest = store.manifest.number
    done = grow(cache, audio, table)
    assert (done.picked, done.added, done.captions) == ({}, 0, 4)
    with open_cache(cache) as store:
        assert store.manifest.number == manifest


def test_what_was_removed_is_not_brought_back(cache: Path, table: Path, tmp_path: Path) -> None:
    audio = recordings(tmp_path / "clips.parquet", [0, 0, 3])
    remove_captions(cache, ids=[caption_id(TEXTS[0])])
    report = grow(cache, audio, table)
    assert TEXTS[0] not in report.picked and TEXTS[3] in report.picked


def test_another_space_is_refused(cache: Path, table: Path, tmp_path: Path) -> None:
    audio = recordings(tmp_path / "clips.parquet", [0], space="another")
    with pytest.raises(SpaceMismatchError, match="another"):
        grow(cache, audio, table)
    foreign = write_vectors(tmp_path / "foreign.parquet", TEXTS, space="another")
    with pytest.raises(SpaceMismatchError, match="elsewhere"):
        grow(cache, recordings(tmp_path / "own.parquet", [0]), foreign)


def test_nearest_is_told_with_texts_centred_and_lost_without() -> None:
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((40, 8)).astype(np.float32) + 2.0
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    clips = rng.standard_normal((60, 8)).astype(np.float32)
    clips /= np.linalg.norm(clips, axis=1, keepdims=True)
    found = nearest_captions(clips, texts)
    moved = texts - texts.mean(axis=0)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    expected = [int(np.argmax([clip @ text for text in moved])) for clip in clips]
    assert found.caption.tolist() == expected
    seconds = [
        max(clip @ text for row, text in enumerate(texts) if row != best)
        for clip, best in zip(clips, expected, strict=True)
    ]
    lost = [bool((texts @ clip).max() <= np.median(seconds)) for clip in clips]
    assert found.lost.tolist() == lost
    held = np.zeros(40, bool)
    chosen, left = pick(found, held, None)
    assert sum(chosen.values()) == lost.count(False) and left == 0
