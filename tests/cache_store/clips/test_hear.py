"""Checked and embedded in one go, as `usable` and `embed_clips` do one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.clips import embed_clips, hear, read_clips, usable
from cache_store.spaces.tiny.space import load_tiny

RATE = 8000


@pytest.fixture(scope="module")
def space():  # type: ignore[no-untyped-def]
    return load_tiny("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good recordings of many lengths between bad ones of every kind."""
    generator = np.random.default_rng(3)
    for number, seconds in enumerate((0.4, 5.0, 61.5, 60.5, 0.01, 130.0, 10.0)):
        noise = generator.uniform(-0.5, 0.5, round(seconds * RATE))
        soundfile.write(tmp_path / f"{number}-good.wav", noise, RATE)
    (tmp_path / "0-text.wav").write_text("no audio")
    (tmp_path / "2-empty.wav").touch()
    soundfile.write(tmp_path / "3-none.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "4-nan.wav", np.full(RATE, np.nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "5-silent.wav", np.zeros(100 * RATE), RATE)
    soundfile.write(tmp_path / "6-whole.wav", np.ones(90 * RATE) * 0.1, RATE)
    late = np.full(70 * RATE, 0.1)
    late[65 * RATE] = np.nan
    soundfile.write(tmp_path / "7-late-nan.wav", late, RATE, subtype="FLOAT")
    return tmp_path


def test_it_is_the_check_and_the_embedding_in_one(folder: Path, space) -> None:  # type: ignore[no-untyped-def]
    table = read_clips(folder)
    kept, rejects = usable(table, sample_rate=space.sample_rate)
    heard = hear(table.paths, space, batch=3)
    assert [table.names[row] for row in heard.rows] == list(kept.names)
    assert [(table.names[row], why) for row, why in heard.rejects] == [
        (reject.name, reject.reason) for reject in rejects
    ]
    assert len(rejects) == 6
    np.testing.assert_array_equal(heard.seconds, kept.columns["seconds"])
    expected = np.stack([vector for _, vector in embed_clips(kept, space, batch=3)])
    # The same pieces in other batches: float32 sums in another order.
    np.testing.assert_allclose(heard.embeddings, expected, atol=1e-5)
    assert heard.embeddings.dtype == np.float32 and heard.rows.dtype == np.int64


@pytest.mark.parametrize("decoders", [2, 5])
def test_threads_change_nothing(folder: Path, space, decoders: int) -> None:  # type: ignore[no-untyped-def]
    paths = read_clips(folder).paths
    ticks: list[int] = []
    one = hear(paths, space, batch=4)
    other = hear(paths, space, batch=4, decoders=decoders, tick=ticks.append)
    np.testing.assert_array_equal(one.embeddings, other.embeddings)
    assert one.rejects == other.rejects
    assert sum(ticks) == len(paths)


def test_nothing_usable_is_no_error(folder: Path, space) -> None:  # type: ignore[no-untyped-def]
    heard = hear([folder / "0-text.wav", folder / "gone.wav"], space)
    assert heard.embeddings.shape == (0, space.dim)
    assert [row for row, _ in heard.rejects] == [0, 1]
    assert heard.rejects[1][1] == "no such file"
