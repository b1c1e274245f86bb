"""The separators by name.

    small   for 8 kHz, minutes on a CPU
    base    for 16 kHz and more, on a GPU

A model is a module with `forward(mixture [B, T], condition [B, D], level [B] | None) -> [B, T]`
and the attributes `sample_rate`, `condition_dim`, `chunk_multiple` and `reach` (in samples), which
`trainer.separate` needs for long recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import torch

from cache_store.errors import ConfigError, UsageError
from trainer.models.unet import FilmUNet, UNetSize

__all__ = ["MODELS", "FilmUNet", "UNetSize", "build_model", "resolve_size", "size_record"]

MODELS: dict[str, UNetSize] = {
    "small": UNetSize(channels=(24, 48, 96), depth=1, patch=(4, 4), condition=64),
    "base": UNetSize(channels=(32, 64, 128, 192, 256), depth=1, patch=(4, 2), condition=128),
}


def build_model(
    name: str,
    sizes: Mapping[str, Any] | None = None,
    *,
    condition_dim: int,
    sample_rate: int,
    seed: int = 0,
) -> FilmUNet:
    """Build a separator with fresh weights; the same seed gives the same weights.

    Args:
        name: One of `MODELS`.
        sizes: Fields of `UNetSize` that replace those of `name`.
        condition_dim: D, the size of the condition.
        sample_rate: Of the audio, in Hz.
        seed: Of the initial weights. The global random state is left as it was.

    Raises:
        UsageError: There is no model of that name.
        ConfigError: `sizes` cannot work.
    """
    if name not in MODELS:
        raise UsageError("no such model", where=name, expected=" | ".join(MODELS))
    size = resolve_size(name, sizes or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FilmUNet(size, condition_dim=condition_dim, sample_rate=sample_rate)


def resolve_size(name: str, sizes: Mapping[str, Any]) -> UNetSize:
    """The size called `name` with some fields replaced.

    Raises:
        ConfigError: An unknown field, or a value that cannot work; all faults together.
    """
    known = {field.name for field in fields(UNetSize)}
    faults = [
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
    if not (isinstance(size.channels, tuple) and _positive(size.channels)):
        faults.append(f"channels must be a list of positive numbers, got {size.channels!r}")
    if not (isinstance(size.patch, tuple) and len(size.patch) == 2 and _positive(size.patch)):
        faults.append(f"patch must be two positive numbers, got {size.patch!r}")
    for key in ("depth", "condition"):
        if not _positive((getattr(size, key),)):
            faults.append(f"{key} must be a positive number, got {getattr(size, key)!r}")
    if faults:
        raise ConfigError(faults)
    return size


def size_record(size: UNetSize) -> dict[str, Any]:
    """A size as plain values, for a run's record."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(size).items()
    }


def _positive(values: tuple[Any, ...]) -> bool:
    return bool(values) and all(isinstance(value, int) and value > 0 for value in values)
