"""Steering a condition away from what is not wanted: `--not "TEXT"`.

Not a strategy of its own but a rule on top of any: it needs a second condition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.conditioning.base import unit

if TYPE_CHECKING:
    from torch import Tensor

NEGATIVE = 0.5  # how far to steer a separator that was not trained for it


def steer_away(positive: Tensor, negative: Tensor, factor: float = NEGATIVE) -> Tensor:
    """c = unit((1 + f) p − f q): the query arithmetic of OmniSep (arXiv 2410.21269).

    Args:
        positive: p, conditions of what is wanted.
        negative: q, conditions of what is not.
        factor: f; 0 leaves `positive` as it is.

    Shape:
        positive, negative: [..., D]. Output: float32 [..., D], unit norm.
    """
    return unit((1 + factor) * unit(positive) - factor * unit(negative))
