"""A recording of any length through a separator, in memory that does not grow with it.

Blocks of samples flow through: resample, separate, resample back. The separator works on chunks
that overlap (`trainer.chunks`), for all queries in turn. All chunks are normalised by the level of
the whole recording where it is known: what comes out is, to rounding, what one pass over the whole
would give. Where it is not, as when the recording is still going on, by the level up to there.

Letters: Q queries, C channels, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.chunks import CHUNK_SECONDS, Chunks
from trainer.resampling import exactly, resample_blocks
from trainer.shared_mask import SharedMask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.models import SeparatorModel


class Piece(NamedTuple):
    """A stretch of a recording, separated.

    Attributes:
        mixture: float32 `[C, T]`.
        estimates: float32 `[Q, C, T]`.
    """

    mixture: NDArray[np.float32]
    estimates: NDArray[np.float32]


class ChunkedSeparation:
    """Separates a stream at the model's sample rate: `feed` it blocks, then `finish`.

    Args:
        model: In evaluation mode, on the device to work on.
        conditions: Unit norm, one a query.
        channels: C.
        chunks: How to cut.
        level: RMS of each channel of the whole recording; None for that of what came so far.
        shared: What makes one mask of the channels' masks; None leaves each its own.

    Attributes:
        chunks: How it is cut.

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
        self.chunks = chunks
        self._rise = chunks.rise()
        self._level = level
        self._meter = LevelMeter(channels)
        self._shared = shared.to(self._device) if shared is not None else None
        self._held: list[NDArray[np.float32]] = []
        self._waiting = 0  # samples held
        self._tails: Tensor | None = None

    def feed(self, block: NDArray[np.float32]) -> Iterator[Piece]:
        """Take a block `[C, T]`; yields what is done by now. To be read to its end."""
        if self._level is None:
            self._meter.add(block)
        self._held.append(block)
        self._waiting += block.shape[1]
        # A chunk that could be the last one waits: it ends differently.
        if self._waiting <= self.chunks.length:
            return
        joined, start = np.concatenate(self._held, axis=1), 0
        while self._waiting > self.chunks.length:
            chunk = joined[:, start : start + self.chunks.length]
            yield self._separate(chunk, last=False)
            start += self.chunks.hop
            self._waiting -= self.chunks.hop
        self._held = [joined[:, start:].copy()]

    def finish(self) -> Iterator[Piece]:
        """Yields what is left when the recording has ended."""
        if self._waiting:
            yield self._separate(np.concatenate(self._held, axis=1), last=True)
            self._held, self._waiting = [], 0

    def _separate(self, chunk: NDArray[np.float32], last: bool) -> Piece:
        mixture = torch.from_numpy(np.ascontiguousarray(chunk)).to(self._device)
        level = (self._level if self._level is not None else self._meter.level()).to(self._device)
        with torch.no_grad():
            estimates = torch.stack(
                [self._estimate(mixture, condition, level) for condition in self._conditions]
            )
        chunks = self.chunks
        if self._tails is not None:
            estimates[..., : chunks.overlap] *= self._rise
            estimates[..., : chunks.overlap] += self._tails
        if last:
            return Piece(chunk, estimates.numpy())
        self._tails = estimates[..., chunks.hop :] * (1 - self._rise)
        return Piece(chunk[:, : chunks.hop], estimates[..., : chunks.hop].numpy())

    def _estimate(self, mixture: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        estimates = self._model(mixture, condition.expand(len(mixture), -1), level)
        if self._shared is not None:
            estimates = self._shared(mixture, estimates)
        return estimates.float().cpu()


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


def separate_blocks(
    model: SeparatorModel,
    blocks: Iterable[NDArray[np.float32]],
    condition: Tensor,
    level: Tensor,
    chunks: Chunks,
) -> Iterator[NDArray[np.float32]]:
    """Separate a stream at the model's sample rate, each channel by itself.

    Args:
        model: In evaluation mode, on the device to work on.
        blocks: The mixture, in order.
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
    work = ChunkedSeparation(model, condition[None], len(level), chunks, level)
    for block in blocks:
        for piece in work.feed(block):
            yield piece.estimates[0]
    for piece in work.finish():
        yield piece.estimates[0]


def measure_level(blocks: Iterable[NDArray[np.float32]], channels: int) -> Tensor:
    """RMS of each channel of a stream. Shape: `[C, T]` blocks to `[C]`."""
    meter = LevelMeter(channels)
    for block in blocks:
        meter.add(block)
    return meter.level()


def separate_stream(
    model: SeparatorModel,
    read: Callable[[], Iterable[NDArray[np.float32]]],
    conditions: Tensor,
    *,
    channels: int,
    sample_rate: int,
    samples: int,
    seconds: float = CHUNK_SECONDS,
    shared: bool = True,
    level: Tensor | None = None,
    listen: Callable[[Piece], None] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Separate a recording at any sample rate; it is read twice, first for its level if need be.

    Args:
        model: In evaluation mode, on the device to work on.
        read: Begins a new reading of the recording, in blocks.
        conditions: Unit norm, one a query.
        channels: C.
        sample_rate: Of the recording, in Hz; the estimate has the same.
        samples: T, of the recording and of the estimate.
        seconds: Length of a chunk.
        shared: Whether several channels get one mask (`trainer.shared_mask`).
        level: RMS of each channel at the model's rate (`LevelMeter`), None to measure it.
        listen: Is shown every piece at the model's rate.

    Shape:
        - read: `[C, T]` blocks
        - conditions: `[Q, D]`, or `[D]` for one query
        - level: `[C]`
        - yields: `[Q, C, T]` blocks, or `[C, T]` for one query
    """
    single = conditions.ndim == 1
    wanted = conditions[None] if single else conditions
    rows = len(wanted) * channels

    def at_model_rate() -> Iterator[NDArray[np.float32]]:
        return resample_blocks(read(), channels, sample_rate, model.sample_rate)

    if level is None:
        level = measure_level(at_model_rate(), channels)
    work = chunked_separation(model, wanted, channels, seconds, shared, level)

    def estimates() -> Iterator[NDArray[np.float32]]:
        for piece in pieces(work, at_model_rate()):
            if listen is not None:
                listen(piece)
            yield piece.estimates.reshape(rows, -1)

    back = resample_blocks(estimates(), rows, model.sample_rate, sample_rate)
    for block in exactly(back, rows, samples):
        yield block if single else block.reshape(len(wanted), channels, -1)


def chunked_separation(
    model: SeparatorModel,
    conditions: Tensor,
    channels: int,
    seconds: float,
    shared: bool,
    level: Tensor | None = None,
    shortest: bool = False,
) -> ChunkedSeparation:
    """A `ChunkedSeparation` with the chunks that it needs."""
    if not shared or channels == 1:
        chunks = Chunks.of(model, seconds, shortest=shortest)
        return ChunkedSeparation(model, conditions, channels, chunks, level)
    mask = SharedMask(model.sample_rate)
    chunks = Chunks.of(model, seconds, more_reach=mask.reach, grid=mask.hop, shortest=shortest)
    return ChunkedSeparation(model, conditions, channels, chunks, level, mask)


def pieces(work: ChunkedSeparation, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Piece]:
    """All that a stream of `[C, T]` blocks gives."""
    for block in blocks:
        yield from work.feed(block)
    yield from work.finish()
