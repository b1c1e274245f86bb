"""`top1`: the caption of the cache that is nearest to the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from trainer.conditioning.base import Neighbours, Strategy, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Top1(Strategy):
    """c = T[argmax_j T_j · a], T the cache's rows: a text stands in for the audio.

    The condition then lies on the text side of the modality gap, where queries come from. Known as
    nearest-neighbour decoding in captioning (WSAC, arXiv 2309.12242, "nnd").
    """

    name = "top1"
    needs = frozenset({"audio", "cache"})

    @property
    def neighbours(self) -> int:
        """One."""
        return 1

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] and neighbours [B, 1, D] to [B, D]."""
        if neighbours is None:
            raise UsageError("the strategy `top1` needs a cache of captions")
        return unit(neighbours.vectors[:, 0])
