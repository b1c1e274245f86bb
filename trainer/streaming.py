"""A recording of any length through a separator, in memory that does not grow with it.

Blocks of samples flow through generators: resample, separate, resample back. The separator works
on chunks that overlap by twice its reach, so that what an edge can spoil is thrown away, plus a
short cross-fade. Chunks begin where the network's grid does, and all are normalised by the level
of the whole recording: what comes out is, to rounding, what one pass over the whole would give.

Letters: C channels (a batch, for the separator), T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.models import SeparatorModel

FADE_SECONDS = 0.05
CHUNK_SECONDS = 10.0


@dataclass(frozen=True)
class Chunks:
    """How a recording is cut, in samples.

    Attributes:
        length: Of a chunk.
        overlap: Of two chunks in a row.
        fade: Of the cross-fade in the middle of an overlap.
    """

    length: int
    overlap: int
    fade: int

    @property
    def hop(self) -> int:
        """From one chunk to the next."""
        return self.length - self.overlap

    @classmethod
    def of(cls, model: SeparatorModel, seconds: float = CHUNK_SECONDS) -> Chunks:
        """Chunks for a model: of about `seconds`, and more where its reach asks for it."""
        unit = model.chunk_multiple
        fade = round(FADE_SECONDS * model.sample_rate)
        overlap = _up(2 * model.reach + fade, unit)
        return cls(max(_up(round(seconds * model.sample_rate), unit), 2 * overlap), overlap, fade)

    def rise(self) -> Tensor:
        """Weights over an overlap of the chunk that begins there; with its mirror image, one.

        Shape: `[overlap]`
        """
        before = (self.overlap - self.fade) // 2
        steps = (torch.arange(self.fade) + 0.5) / self.fade
        weights = torch.ones(self.overlap)
        weights[:before] = 0
        weights[before : before + self.fade] = torch.sin(steps * torch.pi / 2).square()
        return weights


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def separate_blocks(
    model: SeparatorModel,
    blocks: Iterable[NDArray[np.float32]],
    condition: Tensor,
    level: Tensor,
    chunks: Chunks,
) -> Iterator[NDArray[np.float32]]:
    """Separate a stream at the model's sample rate.

    Args:
        model: In evaluation mode, on the device to work on.
        blocks: The mixture, in order; channels are separated one by one.
        condition: Unit norm.
        level: RMS of each channel of the whole recording.
        chunks: How to cut.

    Yields:
        The estimate, in order, as many samples as came in.

    Shape:
        - blocks: `[C, T]` each
        - condition: `[D]`
        - level: `[C]`
        - yields: `[C, T]`
    """
    device = next(model.parameters()).device
    rise = chunks.rise()
    conditions = condition.to(device).expand(len(level), -1)
    tail: Tensor | None = None
    for chunk, last in _chunked(blocks, chunks):
        with torch.no_grad():
            estimate = model(torch.from_numpy(chunk).to(device), conditions, level.to(device)).cpu()
        if tail is not None:
            estimate[:, : chunks.overlap] *= rise
            estimate[:, : chunks.overlap] += tail
        if last:
            yield estimate.numpy()
        else:
            tail = estimate[:, chunks.hop :] * (1 - rise)
            yield estimate[:, : chunks.hop].numpy()


def _chunked(
    blocks: Iterable[NDArray[np.float32]], chunks: Chunks
) -> Iterator[tuple[NDArray[np.float32], bool]]:
    """Cut a stream into overlapping chunks, and say which one is the last."""
    held: list[NDArray[np.float32]] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += block.shape[1]
        while size > chunks.length:
            joined = np.concatenate(held, axis=1)
            yield joined[:, : chunks.length], False
            held = [joined[:, chunks.hop :]]
            size -= chunks.hop
    if size:
        yield np.concatenate(held, axis=1), True


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], channels: int, source: int, target: int
) -> Iterator[NDArray[np.float32]]:
    """Resample a stream from `source` to `target` Hz. Shape: `[C, T]` blocks in and out."""
    if source == target:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(source, target, channels, dtype="float32")

    def push(samples: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        # soxr wants frames first, and a plain row of samples for one channel.
        frames = np.ascontiguousarray(samples.T if channels > 1 else samples[0])
        return stream.resample_chunk(frames, last=last).reshape(-1, channels).T

    for block in blocks:
        out = push(block, last=False)
        if out.shape[1]:
            yield out
    out = push(np.zeros((channels, 0), np.float32), last=True)
    if out.shape[1]:
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


def measure_level(blocks: Iterable[NDArray[np.float32]], channels: int) -> Tensor:
    """RMS of each channel of a stream. Shape: `[C, T]` blocks to `[C]`."""
    total = np.zeros(channels)
    count = 0
    for block in blocks:
        total += np.square(block, dtype=np.float64).sum(axis=1)
        count += block.shape[1]
    return torch.from_numpy(np.sqrt(total / max(count, 1))).float()


def separate_stream(
    model: SeparatorModel,
    read: Callable[[], Iterator[NDArray[np.float32]]],
    condition: Tensor,
    *,
    channels: int,
    sample_rate: int,
    samples: int,
    seconds: float = CHUNK_SECONDS,
) -> Iterator[NDArray[np.float32]]:
    """Separate a recording at any sample rate; it is read twice, first for its level.

    Args:
        model: In evaluation mode, on the device to work on.
        read: Begins a new reading of the recording, in blocks.
        condition: Unit norm.
        channels: C.
        sample_rate: Of the recording, in Hz; the estimate has the same.
        samples: T, of the recording and of the estimate.
        seconds: Length of a chunk.

    Shape:
        - read: `[C, T]` blocks
        - condition: `[D]`
        - yields: `[C, T]` blocks
    """

    def at_model_rate() -> Iterator[NDArray[np.float32]]:
        return resample_blocks(read(), channels, sample_rate, model.sample_rate)

    level = measure_level(at_model_rate(), channels)
    chunks = Chunks.of(model, seconds)
    estimate = separate_blocks(model, at_model_rate(), condition, level, chunks)
    back = resample_blocks(estimate, channels, model.sample_rate, sample_rate)
    return exactly(back, channels, samples)
