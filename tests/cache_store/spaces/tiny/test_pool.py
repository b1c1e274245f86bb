"""The pool: what goes into it, from folders good and bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from cache_store.errors import DataError, EmptyInputError
from cache_store.spaces.tiny import features
from cache_store.spaces.tiny.pool import (
    FRAMES,
    Recording,
    build_pool,
    decode,
    read_recordings,
    reverberate,
)
from cache_store.spaces.tiny.sounds import TRAINED_KINDS, synthesise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("esc")
    for label, kind in (("sea_waves", "waves"), ("dog", "dog")):
        (root / label).mkdir()
        for fold in (1, 2, 4):
            wave = synthesise(kind, np.random.default_rng(fold), seconds=1, sample_rate=22050)
            stereo = np.stack([wave, wave], axis=1)
            soundfile.write(root / label / f"{fold}-7-A.wav", stereo, 22050)
    (root / "dog" / "notes.txt").write_text("not a recording")
    return root


def test_recordings_are_read_by_class_and_fold(folder: Path) -> None:
    found = read_recordings(folder, (1, 2))
    assert [(item.path.parent.name, item.path.name, item.kind) for item in found] == [
        ("dog", "1-7-A.wav", "dog"),
        ("dog", "2-7-A.wav", "dog"),
        ("sea_waves", "1-7-A.wav", "waves"),
        ("sea_waves", "2-7-A.wav", "waves"),
    ]


def test_decoding_gives_mono_at_the_model_rate(folder: Path) -> None:
    wave = decode(folder / "dog" / "1-7-A.wav")
    assert wave.dtype == np.float32 and wave.ndim == 1
    assert abs(wave.size - features.SAMPLE_RATE) <= 1


def test_faults_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EmptyInputError, match="no ESC-10 recordings"):
        read_recordings(tmp_path, (1,))
    with pytest.raises(DataError, match=r"cannot decode this recording.*notes\.txt"):
        decode(folder / "dog" / "notes.txt")


def test_a_pool_holds_every_kind_and_every_variant(folder: Path) -> None:
    done: list[int] = []
    real = [Recording(folder / "dog" / "1-7-A.wav", "dog")]
    pool = build_pool(1, real, 3, seed=0, advance=done.append)
    assert pool.mels.shape == (len(TRAINED_KINDS) + 3, features.BANDS, FRAMES)
    assert pool.mels.dtype == np.float16 and np.isfinite(pool.mels).all()
    assert sum(done) == len(pool.kinds) == len(pool.real)
    assert pool.kinds[:-3].tolist() == list(range(len(TRAINED_KINDS)))
    assert pool.real[-3:].all() and not pool.real[:-3].any()
    assert {TRAINED_KINDS[kind] for kind in pool.kinds[-3:]} == {"dog"}
    assert not np.array_equal(pool.mels[-1], pool.mels[-2])


def test_a_room_keeps_length_and_adds_a_tail() -> None:
    click = np.zeros(16000, dtype=np.float32)
    click[100] = 1.0
    wet = reverberate(click, np.random.default_rng(0))
    assert wet.shape == click.shape and wet.dtype == np.float32
    assert np.abs(wet[:100]).max() < 1e-5, "nothing sounds before the click"
    assert wet[100] > 0.5 and np.abs(wet[1000:2000]).max() > 0
