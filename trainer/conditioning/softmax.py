"""`softmax`: the nearest captions, averaged by how near they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from trainer.conditioning.base import Neighbours, Retrieval, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Softmax(Retrieval):
    """c = unit(Σ_j w_j T_j), w = softmax(T_j · a / τ) over the k nearest rows of the cache.

    The projection of DeCap (arXiv 2303.03032) and WSAC (arXiv 2309.12242), which take all rows; at
    τ = 0.01 those beyond the nearest few weigh next to nothing, and with k = N it is the same.

    Attributes:
        k: How many neighbours.
        temperature: τ, above 0.
    """

    temperature: float = 0.01

    name = "softmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature <= 0:
            raise UsageError("`temperature` must be above 0", found=self.temperature)

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] and neighbours [B, K, D] to [B, D]."""
        neighbours = self.pick(neighbours)
        weights = (neighbours.scores / self.temperature).softmax(dim=-1)
        return unit((weights.unsqueeze(-1) * neighbours.vectors).sum(dim=1))
