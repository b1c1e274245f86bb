"""A laion-clap checkpoint, read safely and renamed into transformers' ClapModel.

The file is read as weights only: nothing in it is executed. An AudioSep checkpoint will do too: its
CLAP, an HTSAT-base, is read, and its separator left. Every tensor of the towers is accounted for;
what only training used is dropped, anything else unknown is an error.
The architecture follows from the shapes: HTSAT-tiny is 96 channels with depths 2, 2, 6, 2 and
HTSAT-base (all the music checkpoints) 128 channels with depths 2, 2, 12, 2.

    laion-clap                              ClapModel
    text_branch.*                           text_model.*
    {text,audio}_projection.{0,2}           {text,audio}_projection.linear{1,2}
    audio_branch.*                          audio_model.audio_encoder.*, and within:
      bn0                                     batch_norm
      norm1, norm2 (of a block)               layernorm_before, layernorm_after
      attn.qkv  [3D, D]                       attention.self.{query,key,value}  [D, D] each
      attn.proj                               attention.output.dense
      attn.relative_position_*                attention.self.relative_position_*
      mlp.fc1, mlp.fc2                        intermediate.dense, output.dense
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import DataError
from cache_store.torch_file import read_torch_file

if TYPE_CHECKING:
    from torch import Tensor

# Only used in training, or computed elsewhere here (the spectrogram), or the same in every model.
DROPPED = re.compile(
    r"audio_branch\.(tscam_conv|head|spectrogram_extractor|logmel_extractor)\."
    r"|(audio|text)_transform\."
    r"|audio_branch\.layers\.\d+\.blocks\.\d+\.attn_mask$"
    r"|text_branch\.embeddings\.(position_ids|token_type_ids)$"
    r"|attn_mask$"
)
RENAMED = (
    (re.compile(r"^text_branch\."), "text_model."),
    (re.compile(r"^(audio|text)_projection\.0\."), r"\1_projection.linear1."),
    (re.compile(r"^(audio|text)_projection\.2\."), r"\1_projection.linear2."),
    (re.compile(r"^audio_branch\.bn0\."), "audio_branch.batch_norm."),
    (re.compile(r"(\.blocks\.\d+\.)norm1\."), r"\1layernorm_before."),
    (re.compile(r"(\.blocks\.\d+\.)norm2\."), r"\1layernorm_after."),
    (re.compile(r"\.attn\.proj\."), ".attention.output.dense."),
    (re.compile(r"\.attn\.relative"), ".attention.self.relative"),
    (re.compile(r"\.mlp\.fc1\."), ".intermediate.dense."),
    (re.compile(r"\.mlp\.fc2\."), ".output.dense."),
    (re.compile(r"^audio_branch\."), "audio_model.audio_encoder."),
)
QKV = re.compile(r"^(?P<block>.*)\.attn\.qkv\.(?P<kind>weight|bias)$")
MEL_FILTERS = "audio_branch.logmel_extractor.melW"
PROBE = "audio_branch.patch_embed.proj.weight"
IN_AUDIOSEP = "query_encoder.model."  # a checkpoint of AudioSep carries the CLAP of its queries
NOT_OURS = "a laion-clap checkpoint (.pt) with an HTSAT audio tower and a RoBERTa text tower"
ROBERTA_POSITIONS = 514
ROBERTA_HEAD = 64  # values of one attention head
SPECTRUM = 256  # pixels a side of the image that HTSAT makes of a spectrogram, in every laion model


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint's tensors under their own names, without the `module.` of a parallel run.

    Of a checkpoint of AudioSep, only those of its CLAP.

    Raises:
        DataError: No such file, or not a checkpoint of this kind.
        DamagedError: The file holds more than tensors and plain values, or is cut.
    """
    import torch

    content = read_torch_file(path, NOT_OURS)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    state: dict[str, Tensor] = {}
    if isinstance(content, dict):
        state = {
            str(name).removeprefix("module."): tensor
            for name, tensor in content.items()
            if isinstance(tensor, torch.Tensor)
        }
    if any(name.startswith(IN_AUDIOSEP) for name in state):
        state = {
            name.removeprefix(IN_AUDIOSEP): tensor
            for name, tensor in state.items()
            if name.startswith(IN_AUDIOSEP)
        }
    _check_kind(path, state)
    return state


def rename(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a checkpoint's tensors into ClapModel's.

    Args:
        path: Of the checkpoint, for messages.
        state: As `read_state` gives it.

    Returns:
        Tensors by ClapModel's names, float32 (indices keep their type).

    Raises:
        DataError: A joint query-key-value matrix cannot be split in three.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if DROPPED.match(name):
            continue
        values = tensor.float() if tensor.is_floating_point() else tensor
        joint = QKV.match(name)
        if joint is None:
            out[_renamed(name)] = values
            continue
        if len(values) % 3:
            raise DataError("a qkv tensor is not three in one", where=path, found=name)
        for part, third in zip(("query", "key", "value"), values.chunk(3), strict=True):
            block = _renamed(joint["block"])
            out[f"{block}.attention.self.{part}.{joint['kind']}"] = third
    return out


def configuration(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read the architecture off the shapes.

    Args:
        path: Of the checkpoint, for messages.
        state: As `read_state` gives it.

    Returns:
        Arguments of transformers' `ClapConfig`.

    Raises:
        DataError: A tensor that tells the architecture is missing or has an impossible shape.
    """
    try:
        return _configuration(state)
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise DataError(
            "the checkpoint's architecture cannot be told",
            where=path,
            expected=NOT_OURS,
            found=str(error),
        ) from error


def _configuration(state: Mapping[str, Tensor]) -> dict[str, Any]:
    channels, _, patch, _ = state[PROBE].shape
    depths = [_count(state, f"audio_branch.layers.{layer}.blocks.") for layer in range(4)]
    tables = [
        state[f"audio_branch.layers.{layer}.blocks.0.attn.relative_position_bias_table"].shape
        for layer in range(4)
    ]
    words, width = state["text_branch.embeddings.word_embeddings.weight"].shape
    if width % ROBERTA_HEAD:
        raise ValueError(f"a text tower of width {width}")
    inner = state["text_branch.encoder.layer.0.intermediate.dense.weight"].shape[0]
    fc1 = state["audio_branch.layers.0.blocks.0.mlp.fc1.weight"].shape[0]
    return {
        "projection_dim": state["audio_projection.2.weight"].shape[0],
        "text_config": {
            "vocab_size": words,
            "hidden_size": width,
            "num_hidden_layers": _count(state, "text_branch.encoder.layer."),
            "num_attention_heads": width // ROBERTA_HEAD,
            "intermediate_size": inner,
            "max_position_embeddings": ROBERTA_POSITIONS,
            "type_vocab_size": state["text_branch.embeddings.token_type_embeddings.weight"].shape[
                0
            ],
            "layer_norm_eps": 1e-5,  # RoBERTa's; transformers' default for CLAP is BERT's
        },
        "audio_config": {
            "patch_embeds_hidden_size": channels,
            "hidden_size": channels * 8,
            "patch_size": patch,
            "patch_stride": [patch, patch],
            "depths": depths,
            "num_attention_heads": [int(heads) for _, heads in tables],
            # The table has a row for every offset within a window: (2w - 1)².
            "window_size": (round(int(tables[0][0]) ** 0.5) + 1) // 2,
            "num_mel_bins": state["audio_branch.bn0.weight"].shape[0],
            "spec_size": SPECTRUM,
            "mlp_ratio": fc1 / channels,
            "enable_fusion": False,
        },
    }


def _check_kind(path: Path, state: Mapping[str, Tensor]) -> None:
    if any("fusion_model." in name or ".mel_conv" in name for name in state):
        raise DataError(
            "a checkpoint with feature fusion, which is not supported",
            where=path,
            expected="one without, such as 630k-audioset-best.pt",
            hint="transformers' conversion of the fusion model works: hf:laion/clap-htsat-fused",
        )
    if PROBE not in state:
        found = "a PANN audio tower" if "audio_branch.conv_block1.conv1.weight" in state else None
        raise DataError("not a checkpoint that we know", where=path, expected=NOT_OURS, found=found)
    positions = state.get("text_branch.embeddings.position_embeddings.weight")
    if positions is None or len(positions) != ROBERTA_POSITIONS:
        raise DataError("the text tower is not RoBERTa's", where=path, expected=NOT_OURS)


def _renamed(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = pattern.sub(replacement, name)
    return name


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered modules follow a prefix."""
    found = {name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)}
    if not found:
        raise KeyError(f"{prefix}*")
    return len(found)
