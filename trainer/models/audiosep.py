"""Which tensor of an AudioSep checkpoint is which of `trainer.models.resunet`'s.

    AudioSep, after `ss_model.`                    here
    base.bn0, base.pre_conv, base.after_conv       input_norm, stem, head
    base.encoder_block{i}.conv_block1.*            encoder.{i - 1}.*
    base.conv_block7a.conv_block1.*                middle.*
    base.decoder_block{i}.conv1, .bn1              decoder.{i - 1}.expand, .norm
    base.decoder_block{i}.conv_block2.*            decoder.{i - 1}.block.*
      and in a block: bn1, bn2                       norm1, norm2
    film.{the path of a block, with ->}->beta{k}   shift{k} of that block, or shift of a decoder

What else its separator has takes no part: `bn2` of a decoder block and the shift for it (`beta2`)
are made there and never used, and the tensors of `stft` and `istft` are the Fourier transform
written as a convolution, which is compared with ours. Any other name, a missing one or another
shape is an error: nothing is passed over in silence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cache_store.errors import DataError
from trainer.models.resunet import ResUNet, ResUNetSize

NOT_OURS = "an AudioSep checkpoint (.ckpt, or its tensors as .safetensors)"
PREFIX = "ss_model."
SAMPLE_RATE = 32_000  # Hz; a checkpoint does not say it
FOURIER_TOLERANCE = 1e-5

_FOURIER = "base.stft.conv_real.weight"
_CONSTANT = re.compile(r"base\.i?stft\.")
_UNUSED = re.compile(r"base\.decoder_block\d+\.bn2\.|film\.decoder_block\d+\.beta2\.")
_BLOCK = re.compile(
    r"(?:base|film)\.(?:encoder_block(?P<encoder>\d+)\.conv_block1"
    r"|(?P<middle>conv_block7a)\.conv_block1"
    r"|decoder_block(?P<decoder>\d+)(?P<inner>\.conv_block2)?)"
    r"\.(?P<layer>\w+)\.(?P<tensor>\w+)"
)
_TOP = {"bn0": "input_norm", "pre_conv": "stem", "after_conv": "head"}
_IN_BLOCK = {"bn1": "norm1", "bn2": "norm2", "beta1": "shift1", "beta2": "shift2"}
_IN_BLOCK |= {name: name for name in ("conv1", "conv2", "shortcut")}
_IN_DECODER = {"bn1": "norm", "conv1": "expand", "beta1": "shift"}


@dataclass(frozen=True)
class AudioSepWeights:
    """The separator of a checkpoint, under our names.

    Attributes:
        size: Of the network.
        condition_dim: D.
        weights: What `ResUNet.load_state_dict` takes, whole.
        unused: Tensors of the separator that take no part in what it computes.
        left: Tensors of other parts, counted by the first word of their names.
    """

    size: ResUNetSize
    condition_dim: int
    weights: Mapping[str, Tensor]
    unused: int
    left: Mapping[str, int]


def our_name(name: str) -> str | None:
    """Our name of a tensor of AudioSep's separator.

    Args:
        name: As in a checkpoint, after `ss_model.`.

    Returns:
        None for a tensor that takes no part.

    Raises:
        KeyError: There is no such tensor.
    """
    name = name.replace("->", ".")
    if _CONSTANT.match(name) or _UNUSED.match(name):
        return None
    top, _, tensor = name.removeprefix("base.").partition(".")
    if top in _TOP:
        return f"{_TOP[top]}.{tensor}"
    found = _BLOCK.fullmatch(name)
    if found is None:
        raise KeyError(name)
    if found["encoder"]:
        place = f"encoder.{int(found['encoder']) - 1}"
    elif found["middle"]:
        place = "middle"
    else:
        place = f"decoder.{int(found['decoder']) - 1}"
        if not found["inner"]:
            return f"{place}.{_IN_DECODER[found['layer']]}.{found['tensor']}"
        place += ".block"
    return f"{place}.{_IN_BLOCK[found['layer']]}.{found['tensor']}"


def translate(state: Mapping[str, Tensor], path: Path) -> AudioSepWeights:
    """Rename the tensors of a checkpoint, and account for every one of them.

    Args:
        state: All tensors of the checkpoint. Without any `ss_model.`, all are the separator's.
        path: Of the checkpoint, for messages.

    Raises:
        DataError: Not AudioSep's separator, or another one than is written here.
    """
    prefix = PREFIX if any(name.startswith(PREFIX) for name in state) else ""
    own = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
    left = Counter(name.partition(".")[0] for name in state if not name.startswith(prefix))
    weights: dict[str, Tensor] = {}
    unused = 0
    for name, tensor in own.items():
        try:
            ours = our_name(name)
        except KeyError:
            raise DataError(
                "an unknown tensor in the separator", where=path, expected=NOT_OURS, found=name
            ) from None
        if ours is None:
            unused += 1
        else:
            weights[ours] = tensor.float() if tensor.is_floating_point() else tensor
    size, dim = _architecture(weights, path)
    model = _checked(size, dim, weights, path)
    if _FOURIER in own:
        _check_fourier(own[_FOURIER], model, path)
    return AudioSepWeights(size, dim, weights, unused, dict(left))


def _architecture(weights: Mapping[str, Tensor], path: Path) -> tuple[ResUNetSize, int]:
    """Channels and D, from shapes."""
    channels: list[int] = []
    while (conv := weights.get(f"encoder.{len(channels)}.conv2.weight")) is not None:
        channels.append(len(conv))
    shift = weights.get("middle.shift1.weight")
    if not channels or shift is None or shift.ndim != 2:
        raise DataError("there is no separator of AudioSep in it", where=path, expected=NOT_OURS)
    return ResUNetSize(channels=tuple(channels)), shift.shape[1]


def _checked(size: ResUNetSize, dim: int, weights: Mapping[str, Tensor], path: Path) -> ResUNet:
    """The network that these weights are of, without any."""
    with torch.device("meta"):
        model = size.build(condition_dim=dim, sample_rate=SAMPLE_RATE)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    wrong = sorted(shapes.keys() ^ weights.keys()) or [
        name for name, shape in shapes.items() if weights[name].shape != shape
    ]
    if wrong:
        raise DataError(
            f"{len(wrong)} tensors of the separator are missing or do not fit",
            where=path,
            expected=NOT_OURS,
            found=f"the first: {wrong[0]}",
        )
    return model


def _check_fourier(carried: Tensor, model: ResUNet, path: Path) -> None:
    """Compare the window and transform that a checkpoint carries with ours: some of its bins."""
    length, bins = model.stft.length, model.stft.bins + 1
    good = carried.shape == (bins, 1, length)
    if good:
        rows = torch.tensor([0, 1, 7, bins // 2, bins - 1])
        phase = 2 * torch.pi * (rows[:, None] * torch.arange(length) % length) / length
        window = torch.hann_window(length, dtype=torch.float64)
        ours = window * torch.cos(phase.double())
        good = bool((carried[rows, 0] - ours).abs().max() < FOURIER_TOLERANCE)
    if not good:
        raise DataError(
            "the separator was trained on another spectrogram",
            where=path,
            expected=f"Hann windows of {length} samples",
            found=f"{list(carried.shape)}",
        )
