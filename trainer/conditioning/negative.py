"""What is not wanted: `--not "TEXT"`.

Not a strategy of its own but a rule on top of any: it needs a second condition. A separator that
takes two, and was trained with them, is given both; for any other, the condition is steered away.
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


def negated(positive: Tensor, negative: Tensor, trained: float, *, takes_negative: bool) -> Tensor:
    """The condition for a separator of what is wanted and what is not.

    Args:
        positive: p, conditions of what is wanted.
        negative: q, conditions of what is not.
        trained: How far the separator's conditions were steered in training; 0 for not at all.
        takes_negative: Whether its condition may have a second half.

    Shape:
        positive, negative: [..., D]. Output: float32 [..., D], or [..., 2 D].
    """
    if takes_negative and trained:
        return beside(positive, unit(negative))
    return steer_away(positive, negative, trained or NEGATIVE)


def beside(positive: Tensor, negative: Tensor) -> Tensor:
    """Both side by side; zeros in the second for nothing. Shape: two of [..., D] to [..., 2 D]."""
    import torch

    return torch.cat([positive, negative], dim=-1)
