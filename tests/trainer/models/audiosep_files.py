"""Small checkpoints as AudioSep's training writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.models.resunet import ResUNet, ResUNetSize

SIZE = ResUNetSize(channels=(4, 6))


def small(dim: int, size: ResUNetSize = SIZE) -> ResUNet:
    """A small separator of AudioSep's kind at its rate, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return size.build(condition_dim=dim, sample_rate=32_000).eval()


def audiosep_state(model: ResUNet) -> dict[str, Tensor]:
    """Its tensors under AudioSep's names, with those that take no part there."""
    state = {}
    for name, tensor in model.state_dict().items():
        state[f"ss_model.{_their_name(name)}"] = tensor.clone()
    for index, block in enumerate(model.decoder, start=1):
        channels, dim = block.shift.weight.shape  # type: ignore[union-attr, misc]
        state[f"ss_model.base.decoder_block{index}.bn2.weight"] = torch.ones(channels)
        state[f"ss_model.film.decoder_block{index}->beta2.weight"] = torch.ones(channels, dim)
    return state


def write(path: Path, model: ResUNet, **more: Any) -> Path:
    """A checkpoint with a CLAP in it, and whatever else."""
    state = audiosep_state(model) | {"query_encoder.model.logit_scale_a": torch.ones(())}
    torch.save({"epoch": 3, "state_dict": state, **more}, path)
    return path


def _their_name(name: str) -> str:
    name = re.sub(r"^input_norm\.", "base.bn0.", name)
    name = re.sub(r"^stem\.", "base.pre_conv.", name)
    name = re.sub(r"^head\.", "base.after_conv.", name)
    name = re.sub(
        r"^encoder\.(\d+)\.", lambda m: f"base.encoder_block{int(m[1]) + 1}.conv_block1.", name
    )
    name = re.sub(r"^middle\.", "base.conv_block7a.conv_block1.", name)
    name = re.sub(r"^decoder\.(\d+)\.", lambda m: f"base.decoder_block{int(m[1]) + 1}.", name)
    name = name.replace(".block.", ".conv_block2.").replace(".expand.", ".conv1.")
    name = re.sub(r"\.norm(\d?)\.", lambda m: f".bn{m[1] or 1}.", name)
    found = re.match(r"base\.(.*)\.shift(\d?)\.(weight|bias)$", name)
    if found:
        return f"film.{found[1].replace('.', '->')}->beta{found[2] or 1}.{found[3]}"
    return name
