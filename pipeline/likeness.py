"""Which captions say the same as an earlier one, told by their embeddings: exact, in blocks.

A row repeats another if their cosine is at or above a threshold. Rows are taken in order, and only
those that stay are compared with, so every row that goes has one that stays within the threshold,
and no chain of neighbours carries a row away from what it resembles.

A float32 product of blocks finds the candidates. Where it is too close to the threshold to be sure,
the cosine is computed again in float64 and rounded to six decimals, so that the answer does not
depend on the size of a block, on the number of threads or on the device. Cost: N²·D/2 multiply-adds
and one pass over the matrix a block; memory is two blocks and their products.

Letters: N rows, D embedding size, b rows of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.progress import Tick

if TYPE_CHECKING:
    import torch

BLOCK_ROWS = 2048
_DECIMALS = 6  # float16 moves a cosine by up to 1e-3, float32 by less than 1e-6

Matrix = np.ndarray[Any, Any]
Rows = npt.NDArray[np.int64]


def repeats(
    matrix: Matrix,
    live: Rows,
    threshold: float,
    *,
    device: str = "cpu",
    block_rows: int = BLOCK_ROWS,
    tick: Tick = lambda rows: None,
) -> tuple[Rows, Rows]:
    """Find the rows that repeat an earlier one.

    Args:
        matrix: Embeddings, float16 or float32, near unit norm.
        live: The rows to look at, ascending.
        threshold: Cosine from which a row repeats another, in (0, 1].
        device: Where to multiply.
        block_rows: Rows to multiply at once.
        tick: Called with the number of rows just done.

    Returns:
        The rows that repeat another, ascending, and for each the first row that stays and is as
        close as that.

    Shape:
        matrix [N, D], live [at most N].
    """
    import torch

    margin = _margin(matrix.shape[1])
    kept: list[Rows] = []
    found: dict[int, int] = {}
    for mine in _blocks(live, block_rows):
        block = _unit(matrix, mine, device)
        like = np.full(len(mine), -1, dtype=np.int64)
        for earlier in _blocks(_joined(kept), block_rows):
            products = block @ _unit(matrix, earlier, device).T
            products[torch.from_numpy(like >= 0).to(products.device)] = -1
            _decide(matrix, mine, earlier, products, threshold, margin, like)
        _within(matrix, mine, block @ block.T, threshold, margin, like)
        found |= {int(row): int(other) for row, other in zip(mine, like, strict=True) if other >= 0}
        kept.append(mine[like < 0])
        tick(len(mine))
    return _rows(found), _rows(found.values())


def nearest_earlier(
    matrix: Matrix,
    live: Rows,
    *,
    device: str = "cpu",
    block_rows: int = BLOCK_ROWS,
    tick: Tick = lambda rows: None,
) -> tuple[npt.NDArray[np.float64], Rows]:
    """Find the earlier row that is most like each row.

    Args:
        matrix: Embeddings, float16 or float32, near unit norm.
        live: The rows to look at, ascending.
        device: Where to multiply.
        block_rows: Rows to multiply at once.
        tick: Called with the number of rows just done.

    Returns:
        Of each row of `live` but the first: the cosine, to six decimals, and the earlier row.

    Shape:
        matrix [N, D], live [L] -> [L − 1], [L − 1].
    """
    rows = np.full(len(live), -1, dtype=np.int64)
    best = np.full(len(live), -np.inf, dtype=np.float32)
    done = 0
    for mine in _blocks(live, block_rows):
        block, part = _unit(matrix, mine, device), slice(done, done + len(mine))
        for start in range(0, done + len(mine), block_rows):
            earlier = live[start : min(start + block_rows, done + len(mine))]
            products = block @ _unit(matrix, earlier, device).T
            if start == done:  # a row is not earlier than itself
                products = products.tril(-1) + products.new_full(products.shape, -2).triu()
            top, columns = (one.cpu().numpy() for one in products.max(dim=1))
            better = top > best[part]
            best[part] = np.where(better, top, best[part])
            rows[part] = np.where(better, earlier[columns], rows[part])
        done += len(mine)
        tick(len(mine))
    pairs = zip(live[1:].tolist(), rows[1:].tolist(), strict=True)
    cosines = [cosine(matrix, row, other) for row, other in pairs]
    return np.array(cosines, dtype=np.float64), rows[1:]


def cosine(matrix: Matrix, row: int, other: int) -> float:
    """The cosine between two rows, in float64, to six decimals."""
    left, right = matrix[row].astype(np.float64), matrix[other].astype(np.float64)
    scale = np.sqrt((left * left).sum() * (right * right).sum())
    return round(float((left * right).sum() / scale), _DECIMALS)


def _within(
    matrix: Matrix,
    mine: Rows,
    products: torch.Tensor,
    threshold: float,
    margin: float,
    like: Rows,
) -> None:
    """Decide on a block's rows against its own earlier ones, in order."""
    near = (products.tril(-1) >= threshold - margin).cpu().numpy()
    for place in np.flatnonzero(near.any(axis=1) & (like < 0)):
        for other in np.flatnonzero(near[place]):
            row, earlier = int(mine[place]), int(mine[other])
            if like[other] < 0 and cosine(matrix, row, earlier) >= threshold:
                like[place] = earlier
                break


def _decide(
    matrix: Matrix,
    mine: Rows,
    earlier: Rows,
    products: torch.Tensor,
    threshold: float,
    margin: float,
    like: Rows,
) -> None:
    """Decide on a block's rows against a block of rows that stay."""
    near = products >= threshold - margin
    sure = products >= threshold + margin
    for place in near.any(dim=1).nonzero().flatten().tolist():
        for other in near[place].nonzero().flatten().tolist():
            row, stays = int(mine[place]), int(earlier[other])
            if bool(sure[place, other]) or cosine(matrix, row, stays) >= threshold:
                like[place] = stays
                break


def _margin(dim: int) -> float:
    """How far a float32 product of unit rows may be from the rounded cosine.

    D·2⁻²⁴ for the sum and 3·2⁻²⁴ a factor for scaling it to unit norm (`rerank.product_error` has
    the source), twice as much for safety, and half a unit of the last decimal.
    """
    return 2 * (dim + 8) * 2.0**-24 + 0.5 * 10.0**-_DECIMALS


def _unit(matrix: Matrix, rows: Rows, device: str) -> torch.Tensor:
    """Some rows as float32 of unit norm: [b, D]."""
    import torch

    wide = matrix[rows].astype(np.float32)
    wide /= np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return torch.from_numpy(wide).to(device)


def _blocks(rows: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _joined(parts: list[Rows]) -> Rows:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _rows(values: Any) -> Rows:
    return np.fromiter(values, dtype=np.int64)
