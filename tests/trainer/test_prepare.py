"""What a run finds out before its first step; the rest is in test_training.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cache_store.errors import SpaceMismatchError, UsageError
from cache_store.manifest import SpaceRecord
from tests.trainer.world import CAPTIONS, DIM, SPACE, World, text_vectors, write_cache
from trainer.prepare import Prepared, prepare
from trainer.run import RunFolder
from trainer.training import train

TINY = SpaceRecord("tiny", "fingerprint-of-tiny", DIM)


class Ears:
    """A space that hears how high a tone is, and knows three captions."""

    name, dim, sample_rate, text_limit = "tiny", DIM, 8000, None

    def __init__(self, record: SpaceRecord = TINY) -> None:
        self.record, self.fingerprint = record, record.fingerprint
        self.heard = 0

    def embed_audio(self, waves: list[np.ndarray], sample_rate: int) -> np.ndarray[Any, Any]:
        self.heard += len(waves)
        kinds = []
        for wave in waves:
            spectrum = np.abs(np.fft.rfft(wave))
            kinds.append(int(spectrum.argmax() * sample_rate / len(wave) // 700))
        return np.eye(DIM, dtype=np.float32)[kinds]

    def embed_text(self, texts: list[str]) -> np.ndarray[Any, Any]:
        return text_vectors()[[CAPTIONS.index(text) for text in texts]]


@pytest.fixture
def bare(world: World, tmp_path: Path) -> World:
    """The world without stored embeddings, and a cache of `tiny`."""
    audio = shutil.copytree(world.audio.parent, tmp_path / "audio")
    table = pq.read_table(audio / "clips.parquet").drop_columns(["embedding"])
    pq.write_table(table, audio / "clips.parquet")
    return World(tmp_path, audio / "clips.parquet", write_cache(tmp_path / "cache", TINY))


def prepared(world: World, **changes: Any) -> Prepared:
    config = world.config(**changes)
    return prepare(config, RunFolder(Path(config.out)), torch.device("cpu"))


def test_audio_without_embeddings_is_embedded_once_and_remembered(
    bare: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = Ears()
    monkeypatch.setattr("cache_store.spaces.load_space", lambda *_, **__: ears)
    first = prepared(bare)
    # Nine clips to train on, three to validate on.
    assert ears.heard == 12
    again = prepared(bare)
    assert ears.heard == 12
    assert np.array_equal(np.asarray(first.clips.embeddings), np.asarray(again.clips.embeddings))
    labels = list(first.clips.columns["label"])
    kinds = np.asarray(first.clips.embeddings).argmax(axis=1)
    assert len({(label, int(kind)) for label, kind in zip(labels, kinds, strict=True)}) == 3


def test_another_model_than_the_caches_is_refused(
    bare: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = Ears(SpaceRecord("tiny", "fingerprint-of-another", DIM))
    monkeypatch.setattr("cache_store.spaces.load_space", lambda *_, **__: ears)
    with pytest.raises(SpaceMismatchError, match=r"fingerprint-of-tiny.*fingerprint-of-another"):
        prepared(bare)


def test_audio_without_embeddings_needs_a_model(world: World, bare: World) -> None:
    with pytest.raises(UsageError, match=r"no stored embeddings.*--space"):
        prepared(World(bare.folder, bare.audio, world.cache))


def test_conditions_are_those_of_the_strategy(world: World) -> None:
    ready = prepared(world, strategy="top1")
    labels = list(ready.clips.columns["label"])
    expected = text_vectors()[[CAPTIONS.index(f"a {label}") for label in labels]]
    conditions = ready.conditioner(torch.arange(len(labels)))
    np.testing.assert_allclose(conditions.numpy(), expected, atol=1e-6)
    assert ready.space == SPACE


def test_held_out_mixtures_are_the_same_for_every_run(world: World) -> None:
    first = prepared(world, seed=0, strategy="audio").held_out
    other = prepared(world, seed=7, strategy="caption").held_out
    assert first is not None and other is not None
    assert first.plans == other.plans
    assert torch.equal(first.mixtures, other.mixtures)
    texts = text_vectors()[[CAPTIONS.index(query) for query in first.queries]]
    np.testing.assert_allclose(first.texts.numpy(), texts, atol=1e-6)


def test_captions_are_needed_for_their_strategy(world: World, tmp_path: Path) -> None:
    audio = shutil.copytree(world.audio.parent, tmp_path / "audio")
    table = pq.read_table(audio / "clips.parquet").drop_columns(["label", "caption"])
    pq.write_table(table, audio / "clips.parquet")
    with pytest.raises(UsageError, match="a column `caption` or `label`"):
        prepared(world, audio=str(audio / "clips.parquet"), strategy="caption")


def test_crops_are_embedded_by_a_model_that_hears(
    bare: World, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = Ears()
    monkeypatch.setattr("cache_store.spaces.load_space", lambda *_, **__: ears)
    assert prepared(bare).ears is None
    assert prepared(bare, embedding="crop").ears is ears
    with pytest.raises(UsageError, match=r"needs a model.*stored embeddings alone.*--space"):
        prepared(world, embedding="crop")
    ears.sample_rate = 0
    with pytest.raises(UsageError, match=r"needs a model that embeds audio"):
        prepared(bare, embedding="crop")


def test_a_run_hears_the_target_of_every_mixture(
    bare: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = Ears()
    monkeypatch.setattr("cache_store.spaces.load_space", lambda *_, **__: ears)
    train(bare.config(embedding="crop", strategy="top1"))
    # Twelve clips once, to pair and to validate with, and two targets in each of four steps
    assert ears.heard == 12 + 4 * 2
