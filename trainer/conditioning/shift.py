"""`shift`: the audio embedding, moved by the distance of the two clouds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from cache_store.index.centring import mean_of
from trainer.conditioning.base import Neighbours, Strategy, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Shift(Strategy):
    """c = unit(a − mean(A) + mean(T)), A all clips' embeddings and T the cache's rows.

    The modality gap is mostly one vector between the means of the two clouds (Liang et al., arXiv
    2203.02053). The means need no pairs. Has to be fitted first: `fit`.

    Attributes:
        offset: mean(T) − mean(A), [D]; None before `fit`.
    """

    offset: Tensor | None = None

    name = "shift"
    needs = frozenset({"audio", "cache"})

    def fit(self, audio: Tensor, matrix: Tensor | None, live: Tensor | None = None) -> Shift:
        """The strategy with the offset between these clips and captions; needs both."""
        if matrix is None:
            raise UsageError("the strategy `shift` needs a cache of captions")
        offset = mean_of(matrix, live).to(audio.device) - mean_of(audio)
        return replace(self, offset=offset)

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] to [B, D]."""
        if self.offset is None:
            raise UsageError("the strategy `shift` has not been fitted to clips and captions")
        return unit(unit(audio) + self.offset)
