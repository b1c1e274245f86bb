"""`laion:` is the same space as `hf:` for the same weights, and finds its tokenizer nearby."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ClapModel

from cache_store.errors import DataError, UnreachableError
from cache_store.spaces import load_space
from cache_store.spaces.mel import MelSettings
from tests.cache_store.spaces import models
from tests.cache_store.spaces.models import TEXTS, cosine_distance


@pytest.fixture
def alone(checkpoint: Path, tmp_path: Path) -> Path:
    """The checkpoint with nothing beside it."""
    return Path(shutil.copy(checkpoint, tmp_path / "tiny.pt"))


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Hugging Face cache with nothing in it."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def spoiled(path: Path, peer: ClapModel, spoil: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    state = models.laion_state(peer)
    spoil(state)
    torch.save({"state_dict": state}, path)
    return path


def test_it_is_the_same_space_as_the_folder(
    checkpoint: Path, tokenizer_folder: Path, hf_folder: Path, clips: list[np.ndarray]
) -> None:
    ours = load_space(f"laion:{checkpoint}?tokenizer={tokenizer_folder}", device="cpu")
    folder = load_space(f"hf:{hf_folder}", device="cpu")
    assert ours.fingerprint == folder.fingerprint
    assert ours.name == "laion:tiny.pt"
    # The folder's layer norms add 1e-12 where RoBERTa's, and so laion-clap's, add 1e-5.
    assert cosine_distance(ours.embed_text(TEXTS), folder.embed_text(TEXTS)).max() < 1e-4
    got, expected = ours.embed_audio(clips, 48_000), folder.embed_audio(clips, 48_000)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["tokenizer", "roberta-base"])
def test_a_tokenizer_beside_the_checkpoint_is_found(
    alone: Path, tokenizer_folder: Path, name: str
) -> None:
    shutil.copytree(tokenizer_folder, alone.parent / name)
    assert load_space(f"laion:{alone}", device="cpu").count_tokens(["dog"])[0] > 2


def test_a_tokenizer_in_the_hub_cache_is_found(
    alone: Path, tokenizer_folder: Path, empty_cache: Path
) -> None:
    repository = empty_cache / "models--roberta-base"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    shutil.copytree(tokenizer_folder, repository / "snapshots" / "abc")
    assert load_space(f"laion:{alone}", device="cpu").count_tokens(["dog"])[0] > 2


def test_without_a_tokenizer_the_error_says_what_to_do(alone: Path, empty_cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_space(f"laion:{alone}")
    assert f"laion:{alone}?tokenizer=FOLDER" in caught.value.message
    assert not empty_cache.exists()


def test_a_named_tokenizer_that_is_not_there_is_an_error(alone: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_space(f"laion:{alone}?tokenizer={tmp_path / 'none'}")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="no tokenizer"):
        load_space(f"laion:{alone}?tokenizer={tmp_path / 'void'}")


@pytest.mark.usefixtures("empty_cache")
def test_a_tokenizer_on_the_hub_is_fetched_only_when_named(alone: Path) -> None:
    with pytest.raises(UnreachableError, match="nobody/roberta"):
        load_space(f"laion:{alone}?tokenizer=hf:nobody/roberta")


def test_a_tokenizer_of_another_model_is_refused(alone: Path, tmp_path: Path) -> None:
    models.tokenizer(tmp_path / "tokenizer", vocabulary=270)
    with pytest.raises(DataError, match="tokenizer is not the model's"):
        load_space(f"laion:{alone}")


def test_missing_and_unknown_tensors_are_named(
    peer: ClapModel, tokenizer_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(tokenizer_folder, tmp_path / "tokenizer")
    lost = "module.audio_branch.norm.weight"
    path = spoiled(tmp_path / "a.pt", peer, lambda state: state.__delitem__(lost))
    with pytest.raises(DataError, match=r"lacks 1 .*audio_encoder\.norm\.weight"):
        load_space(f"laion:{path}")
    extra = {"module.audio_branch.adapter.weight": torch.zeros(2)}
    path = spoiled(tmp_path / "b.pt", peer, lambda state: state.update(extra))
    with pytest.raises(DataError, match=r"1 unknown .*adapter\.weight"):
        load_space(f"laion:{path}")
    shape = {"module.audio_branch.norm.weight": torch.zeros(2)}
    path = spoiled(tmp_path / "c.pt", peer, lambda state: state.update(shape))
    with pytest.raises(DataError, match="do not fit"):
        load_space(f"laion:{path}")


def test_the_filters_in_the_checkpoint_must_be_ours(
    peer: ClapModel, tokenizer_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(tokenizer_folder, tmp_path / "tokenizer")
    name = "module.audio_branch.logmel_extractor.melW"
    filters = torch.from_numpy(MelSettings().filters()).float()
    path = spoiled(tmp_path / "a.pt", peer, lambda state: state.update({name: filters}))
    assert load_space(f"laion:{path}", device="cpu").sample_rate == 48_000
    path = spoiled(tmp_path / "b.pt", peer, lambda state: state.update({name: filters * 1.01}))
    with pytest.raises(DataError, match="another spectrogram"):
        load_space(f"laion:{path}")


def test_loading_leaves_the_global_random_state_alone(
    checkpoint: Path, tokenizer_folder: Path
) -> None:
    before = torch.get_rng_state()
    load_space(f"laion:{checkpoint}?tokenizer={tokenizer_folder}", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_clap_inside_an_audiosep_checkpoint_is_read(
    peer: ClapModel, checkpoint: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    state = {
        f"query_encoder.model.{name.removeprefix('module.')}": tensor
        for name, tensor in models.laion_state(peer).items()
    }
    state["ss_model.base.bn0.weight"] = torch.zeros(3)
    torch.save({"state_dict": state}, tmp_path / "audiosep.ckpt")
    inside, alone = (
        load_space(f"laion:{path}?tokenizer={tokenizer_folder}", device="cpu")
        for path in (tmp_path / "audiosep.ckpt", checkpoint)
    )
    assert inside.fingerprint == alone.fingerprint
