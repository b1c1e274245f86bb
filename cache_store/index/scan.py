"""One pass over the rows: which of them may be among the k best of each query.

Coarse products (`precision`) of every row with every query leave a list of candidates; where those
are many, float32 products of the candidates alone shorten it. What is left has every row of the
answer, and seldom many more.

Letters: B queries, N rows, D embedding size, K neighbours, P pairs of query and row, W candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cache_store.index.candidates import Candidates, Pairs, TooManyError, keep_best, spread
from cache_store.index.precision import Products
from cache_store.index.rerank import product_error
from cache_store.index.workers import Take, share_out

_BLOCK_BYTES = 2 << 20  # products of one block on one core
_GPU_BLOCK_BYTES = 256 << 20
_MOST_BLOCK_ROWS = 16_384
_PAIRS = 512  # candidates gathered at once on one core
_GPU_PAIRS = 16_384
_FEW = 2  # times k: so few candidates need no shortening


def scan(
    products: Products,
    matrix: Tensor,
    queries: Tensor,
    k: int,
    limit: int,
    live: Tensor | None = None,
    block_rows: int | None = None,
) -> Tensor:
    """Return the rows that may be among the k best, -1 where there is none.

    Args:
        products: Of the rows of `matrix`.
        matrix: float16 or float32.
        queries: float32.
        k: At most the number of rows that may be returned.
        limit: How many candidates of all queries may be held.
        live: Which rows may be returned, bool [N]; all by default.
        block_rows: Rows to multiply at once.

    Shape:
        matrix [N, D], queries [B, D] -> int64 [B, W], with W at least K.

    Raises:
        TooManyError: If the candidates are more than `limit`.
    """
    asked, error = products.ask(queries)
    step = block_rows or _block_rows(queries)
    found = Candidates(2 * error, k, limit)

    def work(take: Take) -> None:
        for number in iter(take, None):
            start = number * step
            stop = min(start + step, len(matrix))
            block = products.block(asked, start, stop)
            if live is not None:
                block.masked_fill_(~live[start:stop], -torch.inf)
            found.add(block, start)

    share_out(work, -(-len(matrix) // step), alone=matrix.device.type != "cpu")
    pairs = found.pairs()
    if len(pairs.queries) > _FEW * k * len(queries):
        pairs = Pairs(pairs.queries, pairs.rows, _multiply(matrix, queries, pairs))
        pairs = keep_best(pairs, 2 * product_error(queries), k)
    rows = spread(pairs.queries, pairs.rows, len(queries), k, -1)
    # One query with very many makes the lines of all others long, and mostly empty.
    if rows.numel() > limit and len(queries) > 1:
        raise TooManyError
    return rows


def _multiply(matrix: Tensor, queries: Tensor, pairs: Pairs) -> Tensor:
    """Return the float32 products of pairs, [P], each within `product_error` of the true one."""
    values = torch.empty(len(pairs.queries), device=matrix.device)
    step = _PAIRS if matrix.device.type == "cpu" else _GPU_PAIRS

    def work(take: Take) -> None:
        for number in iter(take, None):
            part = slice(number * step, (number + 1) * step)
            # index_select is ten times as fast here as indexing by a tensor.
            rows = matrix.index_select(0, pairs.rows[part]).float()
            values[part] = rows.mul_(queries.index_select(0, pairs.queries[part])).sum(dim=1)

    share_out(work, -(-len(values) // step), alone=matrix.device.type != "cpu")
    return values


def _block_rows(queries: Tensor) -> int:
    count, dim = queries.shape
    if queries.device.type != "cpu":
        return max(1024, _GPU_BLOCK_BYTES // (4 * max(count, dim)))
    # Fewer would stay in a core's own cache, but what a block costs once would be a third of all.
    return min(_MOST_BLOCK_ROWS, max(1024, _BLOCK_BYTES // (4 * max(count, 1))))
