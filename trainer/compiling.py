"""`torch.compile`, where the machine can: it needs a C++ compiler, or Triton on a GPU."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from cache_store.console import warn


def compiled(model: Any, device: torch.device) -> Any:
    """The model, compiled; the model itself, and one line of warning, where that cannot be done.

    A small function is compiled first: the first step of a run is no place to find out.

    Args:
        model: A module; it shares its weights with what is returned.
        device: Where it works.
    """
    # Said once a run, of the spectrogram, which is left to the library's kernels.
    warnings.filterwarnings("ignore", message=".*does not support code generation for complex")
    try:
        torch.compile(_trial)(torch.zeros(8, device=device))
    except Exception as error:  # noqa: BLE001 - whatever a foreign compiler may say
        text = " ".join(str(error).split()) or type(error).__name__
        warn(f"`compile` does not work here, so it is left out: {text[:160]}")
        return model
    return torch.compile(model)


def _trial(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + values.cos()
