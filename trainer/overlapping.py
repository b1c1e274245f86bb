"""Work on a stream in chunks that overlap, and join what comes of them (`trainer.chunks`).

Memory is that of a chunk, however long the stream.

Letters: R rows, T samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from trainer.chunks import Chunks


class Overlapping:
    """See the module.

    Args:
        chunks: How to cut.
        work: What to make of a chunk; as long as it, on the CPU.

    Shape:
        work: float32 `[R, T]` to `[..., T]`
    """

    def __init__(self, chunks: Chunks, work: Callable[[NDArray[np.float32]], Tensor]) -> None:
        self._chunks = chunks
        self._work = work
        self._rise = chunks.rise()
        self._held: list[NDArray[np.float32]] = []
        self._waiting = 0  # samples held
        self._tails: Tensor | None = None

    def feed(self, block: NDArray[np.float32]) -> Iterator[tuple[NDArray[np.float32], Tensor]]:
        """Take a block `[R, T]`; yields what is done by now, and of which samples it is."""
        chunks = self._chunks
        self._held.append(block)
        self._waiting += block.shape[1]
        # A chunk that could be the last one waits: it ends differently.
        if self._waiting <= chunks.length:
            return
        joined, start = np.concatenate(self._held, axis=1), 0
        while self._waiting > chunks.length:
            yield self._through(joined[:, start : start + chunks.length], last=False)
            start += chunks.hop
            self._waiting -= chunks.hop
        self._held = [joined[:, start:].copy()]

    def finish(self) -> Iterator[tuple[NDArray[np.float32], Tensor]]:
        """Yields what is left when the stream has ended."""
        if self._waiting:
            yield self._through(np.concatenate(self._held, axis=1), last=True)
            self._held, self._waiting = [], 0

    def _through(
        self, chunk: NDArray[np.float32], last: bool
    ) -> tuple[NDArray[np.float32], Tensor]:
        made, chunks = self._work(chunk), self._chunks
        if self._tails is not None:
            made[..., : chunks.overlap] *= self._rise
            made[..., : chunks.overlap] += self._tails
        if last:
            return chunk, made
        self._tails = made[..., chunks.hop :] * (1 - self._rise)
        return chunk[:, : chunks.hop], made[..., : chunks.hop]
