"""`topk-mean`: the mean of the captions nearest to the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.conditioning.base import Neighbours, Retrieval, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class TopKMean(Retrieval):
    """c = s / ‖s‖, s = Σ_{j in the k nearest} T_j, T the cache's rows.

    A mean of several captions is closer to a clip's own caption than the nearest one is, and blurs
    what tells captions apart; DRCap (arXiv 2410.09472) retrieves three. With one caption a class in
    the cache it mixes classes.
    """

    name = "topk-mean"

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] and neighbours [B, K, D] to [B, D]."""
        neighbours = self.pick(neighbours)
        return unit(neighbours.vectors.mean(dim=1))
