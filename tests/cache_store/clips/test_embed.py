"""Clips to embeddings: in order, in bounded batches, long ones piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cache_store.clips import decode, embed, embed_clips, read_clips
from cache_store.errors import UsageError
from tests.cache_store.clips.conftest import Writer, tone


class LevelSpace:
    """Two dimensions that a test can work out: rms and length, at unit norm."""

    name, dim, sample_rate, fingerprint = "levels", 2, 8000, "levels"

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def embed_audio(self, waves: Sequence[np.ndarray], sample_rate: int) -> np.ndarray:
        assert sample_rate == self.sample_rate
        self.batches.append([len(wave) for wave in waves])
        vectors = [[np.sqrt(np.mean(wave**2)), len(wave) / 80_000] for wave in waves]
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_short_clips_have_their_spaces_embedding(write: Writer, tmp_path: Path) -> None:
    for number in range(5):
        write(f"{number}.wav", tone(0.5 + number / 4))
    table, space = read_clips(tmp_path), LevelSpace()
    found = list(embed_clips(table, space, batch=2))  # type: ignore[arg-type]
    assert [row for row, _ in found] == [0, 1, 2, 3, 4]
    assert [len(batch) for batch in space.batches] == [2, 2, 1]
    for row, vector in found:
        (expected,) = LevelSpace().embed_audio([decode(table.paths[row], 8000)], 8000)
        np.testing.assert_allclose(vector, expected, atol=1e-6)
        assert vector.dtype == np.float32


def test_long_clips_are_the_weighted_mean_of_their_pieces(
    write: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "PIECE_SECONDS", 2.0)
    write("a.wav", tone(7.5))  # pieces of 2, 2, 2 and 1.5 s
    write("b.wav", tone(2.5))  # the half second left is too short to count
    space = LevelSpace()
    found = dict(embed_clips(read_clips(tmp_path), space, batch=3))  # type: ignore[arg-type]
    assert space.batches == [[16_000] * 3, [12_000, 16_000]]
    wave = decode(tmp_path / "a.wav", 8000)
    pieces = [wave[:16_000], wave[16_000:32_000], wave[32_000:48_000], wave[48_000:]]
    total = np.average(space.embed_audio(pieces, 8000), axis=0, weights=[4, 4, 4, 3])
    np.testing.assert_allclose(found[0], total / np.linalg.norm(total), atol=1e-5)
    assert np.linalg.norm(found[0]) == pytest.approx(1.0, abs=1e-6)


def test_a_space_without_an_audio_tower_says_so(write: Writer, tmp_path: Path) -> None:
    write("a.wav")
    space = LevelSpace()
    space.sample_rate = 0
    with pytest.raises(UsageError, match="no audio tower"):
        list(embed_clips(read_clips(tmp_path), space))  # type: ignore[arg-type]
