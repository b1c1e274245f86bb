"""Several neighbours that do not all say the same: maximal marginal relevance.

A cache holds near-duplicates, so the k nearest captions may be one phrasing k times. MMR (Carbonell
and Goldstein, SIGIR 1998) picks one caption after the other, each the best of

    (1 − δ) cos(a, t) − δ max_{s picked before} cos(t, s)

from a pool of the nearest; δ = 0 is the plain order.

Letters: B clips, P pool, K neighbours, D embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.conditioning.base import Neighbours

if TYPE_CHECKING:
    from torch import Tensor

POOL = 8  # candidates for each neighbour that is wanted


def diversify(neighbours: Neighbours, k: int, diversity: float) -> Neighbours:
    """Pick k of a pool of neighbours; the first stays the nearest.

    Args:
        neighbours: The pool, nearest first.
        k: How many to pick; all if there are fewer.
        diversity: δ, from 0 to below 1.

    Shape:
        Pool [B, P, D] and [B, P] to [B, K, D] and [B, K], in the order of picking.
    """
    import torch

    vectors, scores = neighbours.vectors, neighbours.scores
    batch, pool, size = vectors.shape
    k = min(k, pool)
    if not diversity:
        return Neighbours(vectors[:, :k], scores[:, :k])
    rows = torch.arange(batch, device=vectors.device)
    taken = torch.zeros(batch, pool, dtype=torch.bool, device=vectors.device)
    closest = torch.full((batch, pool), -torch.inf, device=vectors.device)
    picks: list[Tensor] = []
    for _ in range(k):
        penalty = closest.clamp_min(-1.0) if picks else torch.zeros_like(scores)
        gain = (1 - diversity) * scores - diversity * penalty
        pick = gain.masked_fill(taken, -torch.inf).argmax(dim=1)
        picks.append(pick)
        taken[rows, pick] = True
        chosen = vectors[rows, pick]
        closest = torch.maximum(closest, torch.einsum("bpd,bd->bp", vectors, chosen))
    order = torch.stack(picks, dim=1)
    return Neighbours(
        vectors.gather(1, order.unsqueeze(-1).expand(batch, k, size)), scores.gather(1, order)
    )
