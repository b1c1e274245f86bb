"""A recording of any length through a separator, in memory that does not grow with it.

Blocks of samples flow through: resample, separate, resample back. A separator either carries its
state from block to block (`trainer.stateful`), or works on chunks that overlap (`trainer.chunked`),
for all queries in turn. All chunks are normalised by the level of the whole recording where it is
known: what comes out is, to rounding, what one pass over the whole would give. Where it is not, as
when the recording is still going on, by the level up to there.

Letters: Q queries, C channels, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainer.chunked import ChunkedSeparation
from trainer.chunks import CHUNK_SECONDS, Chunks
from trainer.level_meter import LevelMeter
from trainer.resampling import exactly, resample_blocks
from trainer.separation import Piece, Separation
from trainer.shared_mask import SharedMask
from trainer.stateful import StatefulSeparation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.models import SeparatorModel

MASK_SECONDS = 1.0  # of a chunk that only the mask of several channels needs, where delay counts


def separate_blocks(
    model: SeparatorModel,
    blocks: Iterable[NDArray[np.float32]],
    condition: Tensor,
    level: Tensor,
    seconds: float = CHUNK_SECONDS,
) -> Iterator[NDArray[np.float32]]:
    """Separate a stream at the model's sample rate, each channel by itself.

    Args:
        model: In evaluation mode, on the device to work on.
        blocks: The mixture, in order.
        condition: Unit norm.
        level: RMS of each channel of the whole recording.
        seconds: Length of a chunk, for a separator that works on chunks.

    Yields:
        The estimate, in order, as many samples as came in.

    Shape:
        - blocks: `[C, T]` each
        - condition: `[D]`
        - level: `[C]`
        - yields: `[C, T]`
    """
    work = separation(model, condition[None], len(level), seconds, shared=False, level=level)
    for piece in pieces(work, blocks):
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
        seconds: Length of a chunk, for a separator that works on chunks.
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
    work = separation(model, wanted, channels, seconds, shared, level)

    def estimates() -> Iterator[NDArray[np.float32]]:
        for piece in pieces(work, at_model_rate()):
            if listen is not None:
                listen(piece)
            yield piece.estimates.reshape(rows, -1)

    back = resample_blocks(estimates(), rows, model.sample_rate, sample_rate)
    for block in exactly(back, rows, samples):
        yield block if single else block.reshape(len(wanted), channels, -1)


def separation(
    model: SeparatorModel,
    conditions: Tensor,
    channels: int,
    seconds: float,
    shared: bool,
    level: Tensor | None = None,
    shortest: bool = False,
) -> Separation:
    """The way that suits the model: with its state kept, or in chunks.

    Args:
        model: In evaluation mode, on the device to work on.
        conditions: Unit norm, one a query.
        channels: C.
        seconds: Length of a chunk.
        shared: Whether several channels get one mask.
        level: RMS of each channel of the whole recording; None for that of what came so far.
        shortest: Whether chunks may be as short as they can be, at the cost of time.

    Shape:
        - conditions: `[Q, D]`
        - level: `[C]`
    """
    mask = SharedMask(model.sample_rate) if shared and channels > 1 else None
    with torch.no_grad(), model.at_precision():
        streams = model.streams(conditions.repeat_interleave(channels, dim=0))
    if streams is not None:
        if mask is None:
            return StatefulSeparation(streams, channels)
        most = MASK_SECONDS if shortest else seconds
        chunks = Chunks.cut(model.sample_rate, most, mask.reach, grid=mask.hop)
        return StatefulSeparation(streams, channels, mask, chunks)
    if mask is None:
        chunks = Chunks.of(model, seconds, shortest=shortest)
    else:
        chunks = Chunks.of(model, seconds, more_reach=mask.reach, grid=mask.hop, shortest=shortest)
    return ChunkedSeparation(model, conditions, channels, chunks, level, mask)


def pieces(work: Separation, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Piece]:
    """All that a stream of `[C, T]` blocks gives."""
    for block in blocks:
        yield from work.feed(block)
    yield from work.finish()
