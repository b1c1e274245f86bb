"""How a long recording is cut for a separator: pure planning.

Chunks overlap by twice the separator's reach, so that what an edge can spoil is thrown away, plus a
short cross-fade. They begin where the network's grid does.

Letters: T samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

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
    def of(
        cls,
        model: SeparatorModel,
        seconds: float = CHUNK_SECONDS,
        *,
        more_reach: int = 0,
        grid: int = 1,
        shortest: bool = False,
    ) -> Chunks:
        """Chunks for a model: of about `seconds`, and more where its reach asks for it.

        Args:
            model: The separator.
            seconds: Length of a chunk, about.
            more_reach: Samples that a step after the separator reaches further.
            grid: Samples of that step's own grid.
            shortest: Whether a chunk may be mostly overlap, which costs time for a short delay;
                else it is at least twice its overlap.
        """
        unit = math.lcm(model.chunk_multiple, grid)
        reach = model.reach + more_reach
        return cls.cut(model.sample_rate, seconds, reach, grid=unit, shortest=shortest)

    @classmethod
    def cut(
        cls, sample_rate: int, seconds: float, reach: int, *, grid: int, shortest: bool = False
    ) -> Chunks:
        """Chunks for anything that reaches so many samples and has such a grid; see `of`."""
        fade = round(FADE_SECONDS * sample_rate)
        overlap = _up(2 * reach + fade, grid)
        least = overlap + grid if shortest else 2 * overlap
        return cls(max(_up(round(seconds * sample_rate), grid), least), overlap, fade)

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
