"""Floating-point samples as integers: rounded to the nearest, held at full scale.

An n-bit format holds k / 2^(n-1) for the integers k from -2^(n-1) to 2^(n-1) - 1, which is how
every reader takes it.

Letters: C channels, T samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = {"PCM_16": 16, "PCM_24": 24}


def held_by(encoding: str, samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """What of samples an encoding holds, and how many were beyond its full scale.

    Args:
        encoding: `FLOAT`, `PCM_16`, `PCM_24`, or a lossy one, which is taken to hold all within
            full scale.
        samples: Floating point.

    Shape: `[C, T]` to float32 `[C, T]`.
    """
    if encoding == "FLOAT":
        return samples, 0
    clipped = int((np.abs(samples) > 1.0).sum())
    if encoding not in _BITS:
        return np.clip(samples, -1.0, 1.0), clipped
    scale = 2.0 ** (_BITS[encoding] - 1)
    # In float64: float32 cannot tell neighbours at 24 bits from halves between them.
    steps = np.clip(np.rint(samples * np.float64(scale)), -scale, scale - 1)
    return (steps / scale).astype(np.float32), clipped


def to_integers(encoding: str, held: NDArray[np.float32]) -> NDArray[Any] | None:
    """What `held_by` gave, as soundfile takes it unchanged; None for no integer encoding."""
    if encoding not in _BITS:
        return None
    steps = np.rint(held * np.float64(2.0 ** (_BITS[encoding] - 1)))
    if encoding == "PCM_16":
        return steps.astype(np.int16)
    # The upper three bytes of four.
    return steps.astype(np.int32) << 8


def to_bytes(encoding: str, held: NDArray[np.float32]) -> bytes:
    """What `held_by` gave as a WAV file holds it: frames first, little-endian."""
    integers = to_integers(encoding, held)
    if integers is None:
        return np.ascontiguousarray(held.T, "<f4").tobytes()
    if encoding == "PCM_16":
        return np.ascontiguousarray(integers.T, "<i2").tobytes()
    wide = np.ascontiguousarray(integers.T, "<i4")
    return wide.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
