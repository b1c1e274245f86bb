"""`sample`: one of the captions nearest to the clip, drawn anew each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.conditioning.base import Neighbours, Retrieval, uniform, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Sample(Retrieval):
    """c = T_j, j uniform among the k nearest rows of the cache.

    A clip then meets several phrasings over the epochs, as users will phrase it differently, and no
    phrasing is averaged away.
    """

    name = "sample"
    deterministic = False

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] and neighbours [B, K, D] to [B, D]."""
        neighbours = self.pick(neighbours)
        vectors = neighbours.vectors
        batch, count, size = vectors.shape
        drawn = (uniform(vectors, (batch, 1, 1), generator) * count).long().clamp_max(count - 1)
        return unit(vectors.gather(1, drawn.expand(batch, 1, size))[:, 0])
