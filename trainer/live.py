"""A recording that is still going on, separated as it comes, at a delay that is known.

    live = separator.live(sample_rate, channels, query="a dog barks")
    for block in microphone:
        speaker.play(live.push(block))
    speaker.play(live.finish())

A sample comes out when the chunk that it lies in is full, so a chunk's length bounds the delay. A
separator that carries its state from block to block needs no chunks: its reach bounds the delay.

Letters: C channels, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from cache_store.errors import AudioError, UsageError
from trainer.resampling import Resampler
from trainer.separation import Piece
from trainer.streaming import separation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from trainer.models import SeparatorModel

# soxr holds back less than this there and back together, at any rates (measured: see the test).
_RESAMPLING_SECONDS = 0.2


class LiveSeparation:
    """Made by `Separator.live`, which says what the arguments are.

    Attributes:
        channels: C.
        latency_seconds: A sample comes out at the latest when so much has followed it.
        work: Seconds of sound that the separator goes through for a second of the recording.
    """

    def __init__(
        self,
        model: SeparatorModel,
        condition: Tensor,
        sample_rate: int,
        channels: int,
        chunk_seconds: float,
        shared: bool,
    ) -> None:
        if sample_rate < 1 or channels < 1:
            raise UsageError(
                "a recording has a rate and channels above 0",
                found=f"{channels} channels at {sample_rate} Hz",
            )
        self.channels = channels
        self._work = separation(
            model, condition[None], channels, chunk_seconds, shared, shortest=True
        )
        self._into = Resampler(channels, sample_rate, model.sample_rate)
        self._back = Resampler(channels, model.sample_rate, sample_rate)
        self._pushed = self._returned = 0
        self._finished = False
        self.work = self._work.work
        self.latency_seconds = self._work.latency / model.sample_rate
        if sample_rate != model.sample_rate:
            self.latency_seconds += _RESAMPLING_SECONDS

    def push(self, block: ArrayLike) -> NDArray[np.float32]:
        """Take a block, and return what is done by now.

        Shape:
            - block: `[C, T]`, or `[T]` of one channel; T may be 0
            - returns: float32 `[C, T']`, where T' may be 0

        Raises:
            AudioError: There are samples that are not finite.
            UsageError: A block of another shape, or after `finish`.
        """
        samples = np.atleast_2d(np.asarray(block))
        if self._finished:
            raise UsageError("this recording was finished", expected="a new one: Separator.live")
        if samples.ndim != 2 or len(samples) != self.channels or samples.dtype.kind != "f":
            raise UsageError(
                "cannot separate this block",
                expected=f"floats [{self.channels}, T]",
                found=f"{samples.dtype} {list(samples.shape)}",
            )
        if not np.isfinite(samples).all():
            raise AudioError("there are samples that are not finite (NaN or infinite)")
        self._pushed += samples.shape[1]
        own = self._into.push(samples.astype(np.float32, copy=False))
        return self._kept(self._resampled(self._work.feed(own)))

    def finish(self) -> NDArray[np.float32]:
        """Return what is left: together, as many samples as were pushed. Shape: `[C, T]`.

        Raises:
            UsageError: It was called before.
        """
        if self._finished:
            raise UsageError("this recording was finished", expected="a new one: Separator.live")
        self._finished = True
        parts = [
            self._resampled(self._work.feed(self._into.finish())),
            self._resampled(self._work.finish()),
            self._back.finish(),
        ]
        # Resampling there and back can give a sample more or less than went in.
        missing = max(self._pushed - self._returned - sum(part.shape[1] for part in parts), 0)
        return self._kept(np.concatenate([*parts, np.zeros((self.channels, missing))], axis=1))

    def _resampled(self, pieces: Iterable[Piece]) -> NDArray[np.float32]:
        nothing = np.zeros((self.channels, 0), np.float32)
        parts = [self._back.push(piece.estimates[0]) for piece in pieces]
        return np.concatenate([nothing, *parts], axis=1)

    def _kept(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """What of it may go out: never more than came in."""
        kept = samples[:, : self._pushed - self._returned].astype(np.float32, copy=False)
        self._returned += kept.shape[1]
        return kept


def stream_through(
    begin: Callable[[int], LiveSeparation], blocks: Iterable[ArrayLike]
) -> Iterator[NDArray[np.float32]]:
    """Push blocks through a separation that `begin` makes once the number of channels is known.

    Shape:
        - blocks: `[T]` or `[C, T]`, all of one C; T may differ
        - yields: as the blocks, of other lengths
    """
    live: LiveSeparation | None = None
    flat = False
    for block in blocks:
        samples = np.asarray(block)
        if live is None:
            flat = samples.ndim == 1
            live = begin(1 if flat else len(samples))
        if (out := live.push(samples)).shape[1]:
            yield out[0] if flat else out
    if live is not None and (out := live.finish()).shape[1]:
        yield out[0] if flat else out
