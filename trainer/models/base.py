"""What every separator is to the rest: a module that can be trained, saved and run in chunks.

To add a separator, write a module of its own with two classes, a `SeparatorModel` and the frozen
`ModelSize` that builds it, and name its sizes in `trainer.models.MODELS`. Everything else
(training, checkpoints, evaluation, long recordings) knows no more of it than what is here.

Letters: B batch, T samples, D embedding size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cache_store.errors import UsageError

if TYPE_CHECKING:
    from cache_store.spaces.tower import AudioTower


@dataclass(frozen=True)
class ModelSize(ABC):
    """How large a separator is: whole numbers, decimals, text and tuples of them, no more.

    A run records these values, and builds its separator from them alone: give a new field the
    default that older runs were built by.
    """

    @abstractmethod
    def faults(self) -> list[str]:
        """A clause for each value that cannot work; none for a size that can be built."""

    @abstractmethod
    def build(self, *, condition_dim: int, sample_rate: int) -> SeparatorModel:
        """A separator of this size; its weights come from torch's random state.

        Args:
            condition_dim: D.
            sample_rate: Of the audio, in Hz.

        Raises:
            ConfigError: The size does not go with that sample rate.
        """


class TowerSize(ModelSize):
    """How large a separator is that hears through the audio tower of its conditions' space."""

    @abstractmethod
    def build_on(
        self, tower: AudioTower, *, condition_dim: int, sample_rate: int
    ) -> SeparatorModel:
        """As `build`.

        Args:
            tower: Becomes part of the separator.
            condition_dim: D.
            sample_rate: Of the audio, in Hz.

        Raises:
            ConfigError: The size does not go with that sample rate.
        """

    def build(self, *, condition_dim: int, sample_rate: int) -> SeparatorModel:
        """Not possible.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "this separator hears through the audio tower of an embedding space, and none was given"
        )


class SeparatorStream(ABC):
    """One signal through a separator, in blocks of any lengths, for one condition.

    What comes out is, to rounding, what the separator gives for the whole.
    """

    @property
    @abstractmethod
    def latency(self) -> int:
        """Samples that have to follow one until it comes out, at most."""

    @abstractmethod
    def push(self, mixture: Tensor) -> Tensor:
        """Take a block; what is done by now. Shape: `[T]` to float32 `[T']`."""

    @abstractmethod
    def finish(self) -> Tensor:
        """What is left: together, as many samples as came in. Shape: float32 `[T]`."""


class SeparatorModel(nn.Module, ABC):
    """A separator.

    In evaluation mode it must be local and, given `level`, shift-invariant: a chunk of a recording
    that begins on the grid of `chunk_multiple` comes out as in the whole, but for `reach` samples
    at each cut.

    Attributes:
        size: What it was built by.
        sample_rate: In Hz.
        condition_dim: D.
        takes_negative: Whether a condition may have a second half, for what is not wanted. Else
            what is wanted is steered away from it (`trainer.conditioning.negative`).
        precision: In which to infer, one of `trainer.precision.INFERENCE`.
    """

    size: ModelSize
    sample_rate: int
    condition_dim: int
    takes_negative: bool = False
    precision: str = "no"

    @property
    @abstractmethod
    def chunk_multiple(self) -> int:
        """Samples by which a chunk may begin later without changing what the network sees."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """Samples on each side beyond which nothing changes a value of the output."""

    def at_precision(self) -> AbstractContextManager[object]:
        """What to call it and `streams` in."""
        if self.precision == "no":
            return nullcontext()
        return torch.autocast(next(self.parameters()).device.type, torch.bfloat16)

    def streams(self, conditions: Tensor) -> Sequence[SeparatorStream] | None:
        """A stream for each condition, for a separator that can carry its state from one block to
        the next; None for one that works on chunks.

        Args:
            conditions: Unit norm, `[N, D]`.
        """
        return None

    @abstractmethod
    def forward(self, mixture: Tensor, condition: Tensor, level: Tensor | None = None) -> Tensor:
        """Estimate the sound that the condition asks for.

        Args:
            mixture: Samples.
            condition: Unit norm; two of them side by side where the separator `takes_negative`,
                the second zeros for nothing.
            level: The RMS of the whole recording that `mixture` is a chunk of, for separators that
                normalise by it; the mixture's own by default.

        Shape:
            - mixture: `[B, T]`, any T from 1 on
            - condition: `[B, D]`, or `[B, 2 D]`
            - level: `[B]`
            - returns: float32 `[B, T]`
        """


def is_positive(value: object) -> bool:
    """Whether a value of a size is a whole number above zero."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def patched_faults(channels: object, patch: object, **counts: object) -> list[str]:
    """A clause for each value that cannot work of a network that reads a spectrogram in patches."""
    faults = []
    if not are_positive(channels):
        faults.append(f"channels must be a list of positive numbers, got {channels!r}")
    if not are_positive(patch, 2):
        faults.append(f"patch must be two positive numbers, got {patch!r}")
    for name, value in counts.items():
        if not is_positive(value):
            faults.append(f"{name} must be a positive number, got {value!r}")
    return faults


def are_positive(values: object, count: int | None = None) -> bool:
    """Whether a value of a size is a tuple of `count` (or any) whole numbers above zero."""
    return (
        isinstance(values, tuple)
        and bool(values)
        and all(map(is_positive, values))
        and (count is None or len(values) == count)
    )
