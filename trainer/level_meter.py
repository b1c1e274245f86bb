"""The level of a recording that comes in blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class LevelMeter:
    """RMS of each channel of a stream. Blocks are `[C, T]`."""

    def __init__(self, channels: int) -> None:
        self._total = np.zeros(channels)
        self._count = 0

    def add(self, block: NDArray[np.float32]) -> None:
        """Take a block into account."""
        self._total += np.square(block, dtype=np.float64).sum(axis=1)
        self._count += block.shape[1]

    def level(self) -> Tensor:
        """Of all blocks so far. Shape: float32 `[C]`."""
        return torch.from_numpy(np.sqrt(self._total / max(self._count, 1))).float()
