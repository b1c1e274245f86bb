"""Separation of a stream in chunks, for a separator that hears only what it is given.

Letters: Q queries, C channels, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainer.level_meter import LevelMeter
from trainer.overlapping import Overlapping
from trainer.separation import Piece, Separation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.chunks import Chunks
    from trainer.models import SeparatorModel
    from trainer.shared_mask import SharedMask


class ChunkedSeparation(Separation):
    """See the module.

    Args:
        model: In evaluation mode, on the device to work on.
        conditions: Unit norm, one a query.
        channels: C.
        chunks: How to cut.
        level: RMS of each channel of the whole recording; None for that of what came so far.
        shared: What makes one mask of the channels' masks; None leaves each its own.

    Shape:
        - conditions: `[Q, D]`
        - level: `[C]`
    """

    def __init__(
        self,
        model: SeparatorModel,
        conditions: Tensor,
        channels: int,
        chunks: Chunks,
        level: Tensor | None = None,
        shared: SharedMask | None = None,
    ) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._conditions = conditions.to(self._device)
        self._level = level
        self._meter = LevelMeter(channels)
        self._shared = shared.to(self._device) if shared is not None else None
        self._overlapping = Overlapping(chunks, self._separate)
        self.latency = chunks.length
        self.work = chunks.length / chunks.hop

    def feed(self, block: NDArray[np.float32]) -> Iterator[Piece]:
        """See `Separation.feed`."""
        if self._level is None:
            self._meter.add(block)
        for mixture, estimates in self._overlapping.feed(block):
            yield Piece(mixture, estimates.numpy())

    def finish(self) -> Iterator[Piece]:
        """See `Separation.finish`."""
        for mixture, estimates in self._overlapping.finish():
            yield Piece(mixture, estimates.numpy())

    def _separate(self, chunk: NDArray[np.float32]) -> Tensor:
        """Shape: `[C, T]` to `[Q, C, T]`."""
        mixture = torch.from_numpy(np.ascontiguousarray(chunk)).to(self._device)
        level = (self._level if self._level is not None else self._meter.level()).to(self._device)
        with torch.no_grad():
            return torch.stack(
                [self._estimate(mixture, condition, level) for condition in self._conditions]
            )

    def _estimate(self, mixture: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        with self._model.at_precision():
            estimates = self._model(mixture, condition.expand(len(mixture), -1), level)
        if self._shared is not None:
            estimates = self._shared(mixture, estimates)
        return estimates.float().cpu()
