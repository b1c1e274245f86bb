"""Checkpoints are read safely, their architecture is told by shapes, their tensors renamed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import ClapConfig, ClapModel

from cache_store.errors import DamagedError, DataError
from cache_store.spaces.laion_weights import configuration, read_state, rename
from tests.cache_store.spaces import models

PUBLISHED = {  # channels, depths, heads, width of the last stage
    "HTSAT-tiny": (96, [2, 2, 6, 2], 768),
    "HTSAT-base": (128, [2, 2, 12, 2], 1024),
}


def published_shapes(name: str) -> dict[str, torch.Tensor]:
    """A state of a published model's shapes that takes no memory."""
    channels, depths, hidden = PUBLISHED[name]
    config = ClapConfig(
        text_config={"vocab_size": 50_265},
        audio_config={
            "patch_embeds_hidden_size": channels,
            "hidden_size": hidden,
            "depths": depths,
            "num_attention_heads": [4, 8, 16, 32],
        },
        projection_dim=512,
    )
    with torch.device("meta"):
        model = ClapModel(config)
    state = models.laion_state(model)
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_architectures_are_told_by_their_shapes(name: str) -> None:
    channels, depths, hidden = PUBLISHED[name]
    config = configuration(Path("x.pt"), published_shapes(name))
    assert config["projection_dim"] == 512
    text, audio = config["text_config"], config["audio_config"]
    assert (text["vocab_size"], text["hidden_size"]) == (50_265, 768)
    assert (text["num_hidden_layers"], text["num_attention_heads"]) == (12, 12)
    assert (text["intermediate_size"], text["max_position_embeddings"]) == (3_072, 514)
    assert audio["patch_embeds_hidden_size"] == channels
    assert audio["depths"] == depths
    assert audio["num_attention_heads"] == [4, 8, 16, 32]
    assert audio["hidden_size"] == hidden
    assert (audio["patch_size"], audio["window_size"], audio["spec_size"]) == (4, 8, 256)
    assert (audio["num_mel_bins"], audio["mlp_ratio"]) == (64, 4.0)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_renamed_published_tensors_fit_the_model(name: str) -> None:
    state = published_shapes(name)
    renamed = rename(Path("x.pt"), state)
    with torch.device("meta"):
        model = ClapModel(ClapConfig(**configuration(Path("x.pt"), state)))
    wanted = {key: tensor.shape for key, tensor in model.named_parameters()}
    got = {key: tensor.shape for key, tensor in renamed.items()}
    assert wanted.items() <= got.items()
    assert set(got) <= set(model.state_dict())


def test_renaming_gives_the_peers_tensors_back(checkpoint: Path, peer: ClapModel) -> None:
    renamed = rename(checkpoint, read_state(checkpoint))
    for name, tensor in peer.named_parameters():
        assert torch.equal(renamed[name], tensor), name


def test_numpy_numbers_of_a_training_state_are_ignored(peer: ClapModel, tmp_path: Path) -> None:
    path = models.laion_file(
        tmp_path / "full.pt",
        peer,
        optimizer={"lr": np.float64(1e-4), "step": np.int64(3), "x": np.float32(1)},
    )
    assert set(read_state(path)) == set(read_state(models.laion_file(tmp_path / "b.pt", peer)))


def test_a_bare_state_without_prefix_is_read_too(peer: ClapModel, tmp_path: Path) -> None:
    state = {
        name.removeprefix("module."): tensor for name, tensor in models.laion_state(peer).items()
    }
    torch.save(state, tmp_path / "bare.pt")
    assert set(read_state(tmp_path / "bare.pt")) == set(state)


def test_the_format_of_older_versions_of_torch_is_read_too(peer: ClapModel, tmp_path: Path) -> None:
    state = models.laion_state(peer)
    torch.save({"state_dict": state}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert len(read_state(tmp_path / "old.pt")) == len(state)


class Touch:
    """Unpickled without care, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_never_run(peer: ClapModel, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    states: list[Any] = [
        Touch(trap),
        {"state_dict": models.laion_state(peer), "extra": Touch(trap)},
    ]
    for state in states:
        torch.save(state, tmp_path / "evil.pt")
        with pytest.raises(DamagedError, match="never unpickled unsafely") as caught:
            read_state(tmp_path / "evil.pt")
        assert "\n" not in caught.value.message
        assert caught.value.exit_code == 3
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Touch(trap)))
    with pytest.raises(DamagedError):
        read_state(tmp_path / "plain.pkl")
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\0" * 99])
def test_other_files_are_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(DataError, match="laion-clap checkpoint") as caught:
        read_state(tmp_path / "x.pt")
    assert "\n" not in caught.value.message


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60), legacy=st.booleans())
def test_random_bytes_are_refused(content: bytes, legacy: bool, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes((b"\x80\x02" if legacy else b"") + content)
    with pytest.raises(DataError):
        read_state(tmp_path / "x.pt")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_checkpoint_is_damaged(checkpoint: Path, tmp_path: Path, share: float) -> None:
    content = checkpoint.read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DamagedError):
        read_state(tmp_path / "cut.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file: .*none\.pt"):
        read_state(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"audio_branch.patch_embed.mel_conv2d.weight": torch.zeros(1)},
            "fusion.*hf:laion/clap-htsat-fused",
        ),
        ({"audio_branch.patch_embed.fusion_model.local_att.0.bias": torch.zeros(1)}, "fusion"),
        (
            {
                "audio_branch.patch_embed.proj.weight": None,
                "audio_branch.conv_block1.conv1.weight": torch.zeros(1),
            },
            "PANN",
        ),
        (
            {"text_branch.embeddings.position_embeddings.weight": torch.zeros(512, 8)},
            "not RoBERTa's",
        ),
        ({"text_branch.embeddings.position_embeddings.weight": None}, "not RoBERTa's"),
    ],
)
def test_checkpoints_of_other_kinds_are_refused_by_kind(
    peer: ClapModel, tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    state = models.laion_state(peer)
    for name, tensor in change.items():
        if tensor is None:
            del state[f"module.{name}"]
        else:
            state[f"module.{name}"] = tensor
    torch.save({"state_dict": state}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=message):
        read_state(tmp_path / "x.pt")


def test_an_architecture_that_cannot_be_told_is_an_error(checkpoint: Path) -> None:
    state = read_state(checkpoint)
    del state["audio_branch.layers.3.blocks.0.attn.relative_position_bias_table"]
    with pytest.raises(DataError, match="architecture"):
        configuration(checkpoint, state)
