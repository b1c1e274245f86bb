"""Weights by rule: every tensor of an AudioSep checkpoint from its name and shape alone.

So that the public implementation and ours can be given the same 39 million numbers without anybody
storing them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def ruled(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The values of one tensor; the generator's seed is the CRC-32 of its name.

    Normal, with a spread that keeps maps at about 1 through all layers; norms vary about 1, their
    variances from 0.5 to 1.5.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = rng.standard_normal(tuple(shape))
    kind = name.rpartition(".")[2]
    if kind == "running_var":
        values = rng.uniform(0.5, 1.5, tuple(shape))
    elif len(shape) >= 2:
        values *= (1.5 / np.prod(shape[1:])) ** 0.5
        if "->" in name:  # conditions have unit norm: their shift shall be about 0.5
            values *= 0.5 * shape[1] ** 0.5
    elif kind == "weight":
        values = 1 + 0.2 * values
    else:
        values *= 0.2
    return values.astype(np.float32)


def mixtures() -> NDArray[np.float32]:
    """Two signals of 0.35 s at 32 kHz: decaying tones in noise. Shape: `[2, 11200]`."""
    rng = np.random.default_rng(11)
    time = np.arange(11_200) / 32_000
    tones = [np.sin(2 * np.pi * hz * time) * np.exp(-4 * time) for hz in (440, 3000)]
    return (0.5 * np.stack(tones) + 0.1 * rng.standard_normal((2, 11_200))).astype(np.float32)


def conditions(dim: int = 512) -> NDArray[np.float32]:
    """Two conditions of unit norm. Shape: `[2, D]`."""
    values = np.random.default_rng(12).standard_normal((2, dim))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def is_made(shapes: Mapping[str, Sequence[int]], name: str) -> bool:
    """Whether a tensor is a weight, and not a counter or a constant of the Fourier transform."""
    return bool(shapes[name]) and ".stft." not in name and ".istft." not in name
