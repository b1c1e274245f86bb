"""From a short list of candidates to the final order: float32 scores decide, then smaller ids.

A matrix product sums each dot product in an order that depends on the batch, the block and the
library, so its last bits do too. Here it only makes a short list. Every candidate's score is then
computed again, alone: products in float64 (exact for float32 and float16 values), summed in
float64, rounded once to float32. So a query gets the same answer alone or in a batch, on every
device, and equal rows get equal scores.

Letters: B queries, W candidates a query, K neighbours, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache_store.checks import NORM_TOLERANCE
from cache_store.index.workers import Take, share_out

IdLookup = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.str_]]

_GATHER_BYTES = 2 << 20  # float64 values held at once, by a core
_GPU_GATHER_BYTES = 128 << 20


def rescore(matrix: Tensor, queries: Tensor, rows: Tensor) -> Tensor:
    """Return the scores of candidates, each computed by itself.

    Args:
        matrix: The stored vectors, float16 or float32.
        queries: float32, on any device.
        rows: int64, the candidates' rows; -1 where there is none.

    Shape:
        matrix [N, D], queries [B, D], rows [B, W] -> [B, W] float32, -inf where there is none.
    """
    # MPS has no float64: let the CPU do this small part.
    device = torch.device("cpu") if matrix.device.type == "mps" else matrix.device
    wide = queries.to(device, torch.float64)
    flat = rows.flatten().clamp(min=0).to(matrix.device)
    scores = torch.empty(len(flat), dtype=torch.float32, device=device)
    room = _GATHER_BYTES if device.type == "cpu" else _GPU_GATHER_BYTES
    step = max(1, room // (8 * matrix.shape[1]))

    def work(take: Take) -> None:
        for number in iter(take, None):
            part = slice(number * step, (number + 1) * step)
            numbers = torch.arange(part.start, min(part.stop, len(flat)), device=device)
            # index_select is ten times as fast on a CPU as indexing by a tensor.
            vectors = matrix.index_select(0, flat[part]).to(device, torch.float64)
            vectors *= wide.index_select(0, numbers // rows.shape[1])
            scores[part] = vectors.sum(dim=1).float()

    # Not by PyTorch's own threads: after an operation they spin, in the way of FAISS's.
    share_out(work, -(-len(flat) // step), alone=device.type != "cpu")
    found = scores.to(rows.device).unflatten(0, rows.shape)
    return found.masked_fill(rows < 0, -torch.inf)


def product_error(queries: Tensor) -> Tensor:
    """Return how far a product with a stored unit vector may be from its final score.

    A sum of D products, in any order, is within D·u·‖q‖·‖x‖ of the true one, where u = 2⁻²⁴ is
    the unit roundoff of float32 (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd
    ed., equation 3.5); 2 more for rounding the final score. If PyTorch may round the factors to
    TF32 or bfloat16 first, each brings a relative 2⁻⁸ at most.

    Shape:
        queries [B, D] -> [B] float32.
    """
    unit = (queries.shape[1] + 2) * 2.0**-24
    if _factors_are_rounded(queries.device):
        unit += 2.0**-7 + 2.0**-16
    longest = 1.0 + max(NORM_TOLERANCE.values())
    return queries.norm(dim=1) * (unit * longest)


def _factors_are_rounded(device: torch.device) -> bool:
    try:
        if device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32:
            return True
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # set through PyTorch's newer interface, which the older cannot read
        return True


def order(
    scores: Tensor, rows: Tensor, k: int, ids: IdLookup | None = None
) -> tuple[Tensor, Tensor]:
    """Return the best k candidates: larger score first, then smaller id.

    Args:
        scores: float32.
        rows: int64.
        k: At most W.
        ids: Gives the ids of rows, asked for only where scores are equal; without it the smaller
            row comes first.

    Shape:
        scores [B, W], rows [B, W] -> scores [B, K], rows [B, K].
    """
    by_row = rows.argsort(dim=1)
    scores, rows = scores.gather(1, by_row), rows.gather(1, by_row)
    by_score = scores.argsort(dim=1, descending=True, stable=True)
    scores, rows = scores.gather(1, by_score), rows.gather(1, by_score)
    if ids is not None and scores.shape[1] > 1:
        equal = (scores[:, :-1] == scores[:, 1:]) & torch.isfinite(scores[:, 1:])
        for query in equal[:, :k].any(dim=1).nonzero().flatten().tolist():
            mine = rows[query].cpu().numpy()
            # lexsort's last key is the first to decide.
            best = np.lexsort((_names(ids, mine), -scores[query].cpu().numpy()))
            rows[query] = rows[query][torch.from_numpy(best).to(rows.device)]
    return scores[:, :k], rows[:, :k]


def _names(ids: IdLookup, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    names = ids(np.maximum(rows, 0))
    return np.where(rows < 0, "\U0010ffff", names)
