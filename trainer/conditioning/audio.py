"""`audio`: the clip's own audio embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.conditioning.base import Neighbours, Strategy, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Audio(Strategy):
    """c = a / ‖a‖: the plain language-free scheme (the vanilla baseline of arXiv 2409.09398).

    At test a text's embedding takes its place, from the other side of the modality gap.
    """

    name = "audio"

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] to [B, D]."""
        return unit(audio)
