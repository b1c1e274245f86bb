"""Separation of a stream by a separator that carries its state from block to block.

Nothing is computed twice. Only the mask that several channels share is made in chunks.

Letters: Q queries, C channels, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainer.overlapping import Overlapping
from trainer.separation import Piece, Separation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.chunks import Chunks
    from trainer.models import SeparatorStream
    from trainer.shared_mask import SharedMask


class StatefulSeparation(Separation):
    """See the module.

    Args:
        streams: One for each query and, within it, each channel: Q times C.
        channels: C.
        shared: What makes one mask of the channels' masks; None leaves each its own.
        chunks: How to cut for it.
    """

    def __init__(
        self,
        streams: Sequence[SeparatorStream],
        channels: int,
        shared: SharedMask | None = None,
        chunks: Chunks | None = None,
    ) -> None:
        self._streams = streams
        self._channels = channels
        self._shared = shared
        self._mixture: list[NDArray[np.float32]] = []
        self.latency, self.work = streams[0].latency, 1.0
        self._masking: Overlapping | None = None
        if shared is not None and chunks is not None:
            self._masking = Overlapping(chunks, self._masked)
            self.latency += chunks.length

    def feed(self, block: NDArray[np.float32]) -> Iterator[Piece]:
        """See `Separation.feed`."""
        self._mixture.append(block)
        rows = torch.from_numpy(np.ascontiguousarray(block))
        yield from self._pieces(
            [
                stream.push(rows[number % self._channels])
                for number, stream in enumerate(self._streams)
            ]
        )

    def finish(self) -> Iterator[Piece]:
        """See `Separation.finish`."""
        yield from self._pieces([stream.finish() for stream in self._streams])
        if self._masking is not None:
            for rows, estimates in self._masking.finish():
                yield Piece(rows[: self._channels], estimates.numpy())

    def _pieces(self, parts: list[Tensor]) -> Iterator[Piece]:
        """Shape: `[T]`, Q times C, to pieces."""
        made = torch.stack(parts).numpy()
        if not made.shape[1]:
            return
        mixture = self._take(made.shape[1])
        if self._masking is None:
            yield Piece(mixture, made.reshape(-1, self._channels, made.shape[1]))
            return
        for rows, estimates in self._masking.feed(np.concatenate([mixture, made])):
            yield Piece(rows[: self._channels], estimates.numpy())

    def _take(self, samples: int) -> NDArray[np.float32]:
        """The next samples of the mixture. Shape: `[C, samples]`."""
        joined = np.concatenate(self._mixture, axis=1)
        self._mixture = [joined[:, samples:].copy()]
        return joined[:, :samples]

    def _masked(self, rows: NDArray[np.float32]) -> Tensor:
        """Shape: mixture and estimates, `[C + Q C, T]`, to `[Q, C, T]`."""
        assert self._shared is not None
        mixture, *estimates = torch.from_numpy(rows).split(self._channels)
        return torch.stack([self._shared(mixture, each) for each in estimates])
