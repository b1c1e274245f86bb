"""`mix`: somewhere between the clip and its nearest caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from trainer.conditioning.base import Neighbours, Strategy, uniform, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Mix(Strategy):
    """c = unit(u a + (1 − u) t), u uniform in [0, 1), t the nearest row of the cache.

    CLAPSep (arXiv 2402.17455) mixes the embeddings of a clip and of its paired caption, so that one
    model takes either as a query; without pairs the nearest caption stands in for it.
    """

    name = "mix"
    needs = frozenset({"audio", "cache"})
    deterministic = False

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
            raise UsageError("the strategy `mix` needs a cache of captions")
        u = uniform(audio, (len(audio), 1), generator)
        return unit(u * unit(audio) + (1 - u) * unit(neighbours.vectors[:, 0]))
