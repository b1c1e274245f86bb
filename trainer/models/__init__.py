"""The separators by name.

    small   a U-Net for 8 kHz, minutes on a CPU
    base    a U-Net for 16 kHz and more, on a GPU
    resunet AudioSep's separator, for 32 kHz and a GPU; what its checkpoints are read into
    tdf     a U-Net that mixes along frequency too, with a real mask, for minutes on a CPU
    clapsep the frozen audio tower of the conditions' space, adapters in it, and a decoder

A name stands for a size, and a size knows how to build its separator: see `trainer.models.base` for
what that is, and for how to add one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from cache_store.errors import ConfigError, UsageError
from trainer.models.base import ModelSize, SeparatorModel, SeparatorStream, TowerSize
from trainer.models.clapsep import ClapSep, ClapSepSize
from trainer.models.resunet import ResUNet, ResUNetSize
from trainer.models.tdf import TdfSize, TdfUNet
from trainer.models.unet import FilmUNet, UNetSize

if TYPE_CHECKING:
    from cache_store.spaces.tower import AudioTower

__all__ = [
    "MODELS",
    "ClapSep",
    "ClapSepSize",
    "FilmUNet",
    "ModelSize",
    "ResUNet",
    "ResUNetSize",
    "SeparatorModel",
    "SeparatorStream",
    "TdfSize",
    "TdfUNet",
    "TowerSize",
    "UNetSize",
    "build_model",
    "needs_tower",
    "parse_sizes",
    "resolve_size",
    "size_record",
]

MODELS: dict[str, ModelSize] = {
    "small": UNetSize(channels=(24, 48, 96), depth=1, patch=(4, 4), condition=64),
    "base": UNetSize(channels=(32, 64, 128, 192, 256), depth=1, patch=(4, 2), condition=128),
    "resunet": ResUNetSize(channels=(32, 64, 128, 256, 384, 384)),
    "tdf": TdfSize(channels=(24, 48, 96), depth=1, patch=(4, 4), squeeze=2, condition=64),
    "clapsep": ClapSepSize(),
}


def build_model(
    name: str,
    sizes: Mapping[str, Any] | None = None,
    *,
    condition_dim: int,
    sample_rate: int,
    seed: int = 0,
    tower: AudioTower | None = None,
) -> SeparatorModel:
    """Build a separator with fresh weights; the same seed gives the same weights.

    Args:
        name: One of `MODELS`.
        sizes: Fields of its size that replace those of `name`.
        condition_dim: D, the size of the condition.
        sample_rate: Of the audio, in Hz.
        seed: Of the initial weights. The global random state is left as it was.
        tower: The audio tower of the conditions' space, for a model that `needs_tower`; it becomes
            part of the model.

    Raises:
        UsageError: There is no model of that name, or it needs a tower and there is none.
        ConfigError: `sizes` cannot work.
    """
    size = resolve_size(name, sizes or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(size, TowerSize) and tower is not None:
            return size.build_on(tower, condition_dim=condition_dim, sample_rate=sample_rate)
        return size.build(condition_dim=condition_dim, sample_rate=sample_rate)


def resolve_size(name: str, sizes: Mapping[str, Any]) -> ModelSize:
    """The size called `name` with some fields replaced.

    Raises:
        UsageError: There is no model of that name.
        ConfigError: An unknown field, or a value that cannot work; all faults together.
    """
    if name not in MODELS:
        raise UsageError("no such model", where=name, expected=" | ".join(MODELS))
    known = {field.name for field in fields(MODELS[name])}
    unknown = [
        f"model size {key!r} must be one of {', '.join(sorted(known))}"
        for key in sizes
        if key not in known
    ]
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in sizes.items()
        if key in known
    }
    size = replace(MODELS[name], **given)
    if faults := [*unknown, *size.faults()]:
        raise ConfigError(faults)
    return size


def needs_tower(name: str) -> bool:
    """Whether the separator called `name` hears through the audio tower of its conditions' space.

    Raises:
        UsageError: There is no model of that name.
    """
    return isinstance(resolve_size(name, {}), TowerSize)


def parse_sizes(text: str) -> dict[str, Any]:
    """Fields of a size from text, as `--sizes` takes them: `channels=8,16,32 depth=2`.

    A value is a whole number, a decimal, a word, or several of them with commas between them; one
    value with a comma after it is a list of one.

    Raises:
        ConfigError: Not fields with values, or one field twice; all faults together.
    """
    sizes: dict[str, Any] = {}
    faults = []
    for part in text.split():
        key, equals, value = part.partition("=")
        values = [_value(item) for item in value.split(",") if item]
        if not (key and equals and values):
            faults.append(f"`sizes` must be fields such as channels=8,16 depth=1, got {part!r}")
        elif key in sizes:
            faults.append(f"`sizes` has {key!r} twice")
        else:
            sizes[key] = values if "," in value else values[0]
    if faults:
        raise ConfigError(faults)
    return sizes


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def size_record(size: ModelSize) -> dict[str, Any]:
    """A size as plain values, for a run's record."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(size).items()
    }
