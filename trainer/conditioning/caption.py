"""`caption`: the embedding of the clip's own caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from trainer.conditioning.base import Neighbours, Strategy, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Caption(Strategy):
    """c = t / ‖t‖, t the embedding of the caption paired with the clip.

    The supervised case: it needs labelled audio, and is the upper bound that the others are
    measured against.
    """

    name = "caption"
    needs = frozenset({"audio", "caption"})

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """Caption embeddings [B, D] to [B, D]."""
        if captions is None:
            raise UsageError("the strategy `caption` needs a caption for every clip")
        return unit(captions)
