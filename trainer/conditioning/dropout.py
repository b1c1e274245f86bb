"""`dropout`: the audio embedding with some of its dimensions left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from trainer.conditioning.base import Neighbours, Strategy, uniform, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Dropout(Strategy):
    """c = unit(b ∘ a), each b_d 0 with probability p and else 1.

    The separator cannot rely on any one detail of the target's embedding. Saijo et al. (arXiv
    2409.13152) found it as effective as text captions; the default rate is ours. The usual factor
    1 / (1 − p) is lost in the norm. An embedding that would lose all its values is left whole.

    Attributes:
        dropout: p, at least 0 and below 1.
    """

    dropout: float = 0.5

    name = "dropout"
    deterministic = False

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise UsageError("`dropout` must be at least 0 and below 1", found=self.dropout)

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] to [B, D]."""
        kept = audio.float() * (uniform(audio, audio.shape, generator) >= self.dropout)
        lost = (kept == 0).all(dim=-1, keepdim=True)
        return unit(audio.float().where(lost, kept))
