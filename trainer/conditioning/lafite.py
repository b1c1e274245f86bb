"""`lafite`: the audio embedding, mostly replaced by a random direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from trainer.conditioning.base import Neighbours, Strategy, normal, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Lafite(Strategy):
    """c = unit((1 − s) a + s n / ‖n‖), n standard normal, s = 0.75 by default.

    The fixed-norm perturbation by which LAFITE (arXiv 2111.13792) makes pseudo text features out of
    image features. In many dimensions n is almost at right angles to a, so the cosine of c and a is
    about (1 − s) / sqrt((1 − s)² + s²): 0.32 for 0.75.

    Attributes:
        noise_share: s, from 0 to 1.
    """

    noise_share: float = 0.75

    name = "lafite"
    deterministic = False

    def __post_init__(self) -> None:
        if not 0 <= self.noise_share <= 1:
            raise UsageError("`noise_share` must be from 0 to 1", found=self.noise_share)

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] to [B, D]."""
        direction = unit(normal(audio, generator))
        return unit((1 - self.noise_share) * unit(audio) + self.noise_share * direction)
