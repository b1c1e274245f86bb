from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from cache_store.errors import EmptyInputError, SpaceMismatchError, UsageError
from cache_store.spaces import load_space
from pipeline.grow.recordings import read_recordings

TINY = load_space("tiny", device="cpu")


class Counting:
    """`tiny`, and how many recordings it was given to hear."""

    def __init__(self) -> None:
        self.heard = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(TINY, name)

    def embed_audio(
        self, waveforms: Sequence[NDArray[np.floating]], sample_rate: int
    ) -> NDArray[np.float32]:
        self.heard += len(waveforms)
        return TINY.embed_audio(waveforms, sample_rate)


def test_recordings_are_heard_once(tmp_path: Path, audio: Path) -> None:
    space: Any = Counting()
    first = read_recordings(tmp_path, audio, space)
    again = read_recordings(tmp_path, audio, space)
    assert space.heard == 20
    assert first.vectors.shape == (20, 128) and not first.stored
    assert np.array_equal(first.vectors, again.vectors)
    assert (first.key, first.table.names) == (again.key, again.table.names)


def test_a_recording_that_changed_is_heard_again(tmp_path: Path, audio: Path) -> None:
    folder = tmp_path / "audio"
    shutil.copytree(audio, folder)
    space: Any = Counting()
    first = read_recordings(tmp_path, folder, space)
    os.utime(folder / first.table.names[0], ns=(1, 1))
    assert read_recordings(tmp_path, folder, space).key != first.key
    assert space.heard == 40


def test_a_damaged_file_of_embeddings_is_made_anew(tmp_path: Path, audio: Path) -> None:
    space: Any = Counting()
    first = read_recordings(tmp_path, audio, space)
    (kept,) = (tmp_path / "grow").iterdir()
    kept.write_bytes(kept.read_bytes()[:-20])
    assert np.array_equal(read_recordings(tmp_path, audio, space).vectors, first.vectors)
    assert space.heard == 40


def test_what_cannot_be_used_is_named_also_the_second_time(tmp_path: Path, audio: Path) -> None:
    folder = tmp_path / "audio"
    shutil.copytree(audio, folder)
    (folder / "broken.wav").write_bytes(b"RIFF")
    for _ in range(2):
        found = read_recordings(tmp_path, folder, TINY)
        assert [reject.name for reject in found.rejects] == ["broken.wav"]
        assert len(found.table) == len(found.vectors) == 20
        assert "broken.wav" not in found.table.names


def manifest(folder: Path, space: str, fingerprint: str | None = None) -> Path:
    vectors = np.eye(128, dtype=np.float32)[:3]
    rows = pa.array(vectors.tolist(), pa.list_(pa.float32(), 128))
    table = pa.table({"path": ["a.wav", "b.wav", "c.wav"], "embedding": rows})
    facts = {"lqtse.space": space} | ({"lqtse.fingerprint": fingerprint} if fingerprint else {})
    pq.write_table(table.replace_schema_metadata(facts), folder / "m.parquet")
    return folder / "m.parquet"


def test_stored_embeddings_are_used_and_no_recording_is_opened(tmp_path: Path) -> None:
    space: Any = Counting()
    source = manifest(tmp_path, "tiny", TINY.fingerprint)
    found = read_recordings(tmp_path, source, space)
    assert found.stored and space.heard == 0
    assert np.array_equal(found.vectors, np.eye(128, dtype=np.float32)[:3])


def test_stored_embeddings_of_another_space_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpaceMismatchError, match=r"another space.*the recordings themselves"):
        read_recordings(tmp_path, manifest(tmp_path, "elsewhere"), TINY)


def test_of_very_many_clips_a_sample_is_taken_always_the_same(tmp_path: Path, audio: Path) -> None:
    found = read_recordings(tmp_path, audio, TINY, most=8)
    assert (len(found.table), found.total) == (8, 20)
    assert found.table.names == read_recordings(tmp_path, audio, TINY, most=8).table.names


def test_nothing_to_hear(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyInputError):
        read_recordings(tmp_path, tmp_path / "empty", TINY)
    with pytest.raises(UsageError, match="no such folder"):
        read_recordings(tmp_path, tmp_path / "nowhere", TINY)
