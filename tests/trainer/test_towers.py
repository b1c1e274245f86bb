"""Runs of `clapsep`, from training to separation, and a tower that is not where it was."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from cache_store.errors import DataError, SpaceMismatchError, UsageError
from cache_store.manifest import SpaceRecord
from cache_store.spaces import load_space
from tests.cache_store.spaces import models
from tests.trainer.hearing import write_cache_of, write_hearing_world
from tests.trainer.world import CAPTIONS, World
from trainer import Separator, loop
from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.eval_settings import EvalSettings
from trainer.evaluate import evaluate
from trainer.models import ClapSep
from trainer.run import RunFolder, load_model, read_record
from trainer.towers import run_tower
from trainer.training import train

SIZES = "channels=8,8,8 condition=8 lora_rank=2"
SETTINGS = {
    "model": "clapsep",
    "sizes": SIZES,
    "where": "fold < 3",
    "valid_where": "fold >= 1",
    "valid_sounds": 0,
}


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_hearing_world(tmp_path_factory.mktemp("hearing"))


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small ClapModel, as `save_pretrained` writes it."""
    return models.hf_folder(tmp_path_factory.mktemp("hf") / "clap")


@pytest.fixture(scope="module")
def heard(hearing: World) -> RunFolder:
    """A run that was trained with negatives."""
    config = hearing.config(**SETTINGS, negative=0.5)
    assert train(config).result.steps == 4
    return RunFolder(Path(config.out))


def test_a_run_is_evaluated_and_separates(heard: RunFolder, hearing: World) -> None:
    settings = EvalSettings(str(hearing.audio), mixtures=3, say_not=True)
    assert np.isfinite(evaluate(heard.path, settings).means["sdri"].mean)
    separator = Separator.load(heard.path, device="cpu")
    wave = (0.1 * np.random.default_rng(0).normal(size=(2, 9000))).astype(np.float32)
    estimate = separator.separate(wave, 8000, query=CAPTIONS[0])
    assert estimate.shape == wave.shape and np.abs(estimate).max() > 0


def test_a_negative_is_given_beside_to_a_run_that_was_trained_with_it(heard: RunFolder) -> None:
    separator = Separator.load(heard.path, device="cpu")
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(separator.model.get_submodule("head").weight, generator=generator)
    wanted, unwanted = (separator.condition(text) for text in CAPTIONS[:2])
    both = separator.condition(CAPTIONS[0], negative=CAPTIONS[1])
    torch.testing.assert_close(both, torch.cat([wanted, unwanted]))
    wave = (0.1 * np.random.default_rng(0).normal(size=9000)).astype(np.float32)
    alone = separator.separate(wave, 8000, query=CAPTIONS[0])
    without = separator.separate(wave, 8000, query=CAPTIONS[0], negative=CAPTIONS[1])
    assert np.abs(alone - without).max() > 1e-4


def test_a_run_that_goes_on_ends_as_one_that_never_stopped(
    heard: RunFolder, hearing: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = hearing.config(**SETTINGS, negative=0.5, out=str(tmp_path / "run"))
    folder = RunFolder(tmp_path / "run")

    def save_and_stop(path: Path, checkpoint: Checkpoint) -> None:
        save_checkpoint(path, checkpoint)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "save_checkpoint", save_and_stop)
        train(config)
    assert load_checkpoint(folder.last).step == 2
    train(config, resume=True)
    ours, theirs = (load_checkpoint(f.last).model for f in (folder, heard))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_says_which_tower_and_a_copy_elsewhere_finds_it(
    heard: RunFolder, tmp_path: Path
) -> None:
    record = read_record(heard)
    copy = RunFolder(tmp_path / "copy")
    shutil.copytree(heard.path, copy.path)
    model, _ = load_model(copy)
    assert isinstance(model, ClapSep)
    assert model.tower_fingerprint == record.space.fingerprint


def test_weights_of_a_run_are_begun_with(heard: RunFolder, hearing: World, tmp_path: Path) -> None:
    out = str(tmp_path / "tuned")
    config = hearing.config(**SETTINGS, init=str(heard.path), out=out, steps=1, valid_every=1)
    assert train(config).result.finished


def test_another_tower_is_refused(heard: RunFolder, hf_folder: Path) -> None:
    with pytest.raises(SpaceMismatchError, match="another space than the run was trained in"):
        load_model(heard, space=f"hf:{hf_folder}")


def test_a_tower_that_is_gone_is_told_with_what_to_do(heard: RunFolder, tmp_path: Path) -> None:
    record = read_record(heard)
    gone = dataclasses.replace(record, space_spec=f"laion:{tmp_path / 'clap.pt'}")
    with pytest.raises(DataError, match=r"cannot be loaded.*clap\.pt.*--space laion:CHECKPOINT"):
        run_tower(gone)
    assert run_tower(gone, "tiny") is not None
    unnamed = dataclasses.replace(
        record, space=SpaceRecord("laion clap", "clap:1", 128), space_spec="stored:texts.parquet"
    )
    with pytest.raises(UsageError, match=r"nothing says where that is.*--space laion:"):
        run_tower(unnamed, "stored:texts.parquet")


def test_a_run_without_a_tower_loads_none(run: Path) -> None:
    assert run_tower(read_record(RunFolder(run)), "laion:nothing.pt") is None


def test_stored_embeddings_have_no_tower(world: World, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=r"stored embeddings have none.*Name the CLAP.*another"):
        train(world.config(model="clapsep", out=str(out)))
    assert not out.exists()


def test_a_run_in_a_clap_of_transformers(hf_folder: Path, hearing: World, tmp_path: Path) -> None:
    spec = f"hf:{hf_folder}"
    cache = write_cache_of(load_space(spec, device="cpu"), tmp_path / "cache")
    audio = tmp_path / "audio"
    shutil.copytree(hearing.audio.parent, audio)
    config = World(tmp_path, audio / "clips.csv", cache).config(
        **SETTINGS, space=spec, steps=1, batch_size=1, valid_every=1, valid_mixtures=1
    )
    assert train(config).result.finished
    separator = Separator.load(config.out, device="cpu")
    wave = (0.1 * np.random.default_rng(0).normal(size=4000)).astype(np.float32)
    assert separator.separate(wave, 8000, query=CAPTIONS[0]).shape == wave.shape
