"""Streams of samples at another rate, and of a given length.

Letters: C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Resampler:
    """Resamples a stream of `[C, T]` blocks from `source` to `target` Hz (soxr's HQ, no delay).

    Args:
        channels: C.
        source: In Hz.
        target: In Hz.
    """

    def __init__(self, channels: int, source: int, target: int) -> None:
        self._channels = channels
        self._stream = None
        if source != target:
            import soxr

            self._stream = soxr.ResampleStream(source, target, channels, dtype="float32")

    def push(self, block: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """What a block, which may be empty, gives by now."""
        if self._stream is None:
            return block
        # soxr wants frames first, and a plain row of samples for one channel.
        frames = np.ascontiguousarray(block.T if self._channels > 1 else block[0])
        out: NDArray[np.float32] = self._stream.resample_chunk(frames, last=last)
        return out.reshape(-1, self._channels).T

    def finish(self) -> NDArray[np.float32]:
        """What is left when the stream has ended."""
        return self.push(np.zeros((self._channels, 0), np.float32), last=True)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], channels: int, source: int, target: int
) -> Iterator[NDArray[np.float32]]:
    """Resample a stream from `source` to `target` Hz. Shape: `[C, T]` blocks in and out."""
    stream = Resampler(channels, source, target)
    for block in blocks:
        if (out := stream.push(block)).shape[1]:
            yield out
    if (out := stream.finish()).shape[1]:
        yield out


def exactly(
    blocks: Iterable[NDArray[np.float32]], channels: int, samples: int
) -> Iterator[NDArray[np.float32]]:
    """Cut a stream, or fill it with zeros, to `samples`. Shape: `[C, T]` blocks in and out.

    Resampling there and back can give a sample more or less than went in.
    """
    left = samples
    for block in blocks:
        if left:
            yield block[:, :left]
        left -= min(left, block.shape[1])
    if left:
        yield np.zeros((channels, left), np.float32)
