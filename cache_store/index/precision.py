"""Products of queries and rows in the precision that the machine multiplies fastest.

They only choose candidates, so they may be coarse, if it is known how coarse: each form gives a
bound on how far its products can be from the true ones, and `exact` keeps every row that the bound
lets into the answer.

    float32    the product itself; rows are widened in memory, or block by block if they are many
    bfloat16   both factors rounded; for CPUs with AVX512_BF16 or AMX
    int8       rows and queries as whole numbers times a scale of their own; for CPUs with
               AVX512_VNNI or AMX, twice as fast again and half the memory of float16

Which of them to take is `choice`'s to say. The answers do not depend on it.

Letters: B queries, N rows, M rows of a block, D embedding size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from cache_store.checks import NORM_TOLERANCE
from cache_store.errors import DamagedError
from cache_store.index.auto import RESIDENT_BYTES
from cache_store.index.rerank import product_error
from cache_store.index.workers import Take, share_out

_BLOCK = 1024  # rows converted at once by a core
_SAMPLE = 8192  # rows whose mean stands for all
_LONGEST = 1.0 + max(NORM_TOLERANCE.values())  # the norm of a stored row at most
_TINY = 1e-30  # instead of a scale of zero


class Products(Protocol):
    """Rows in one precision; see the module."""

    def ask(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the queries in this precision, and how far a product can be from the truth.

        Products and bound are in one unit, which may differ from query to query, and may leave out
        what all rows have in common: only differences between rows of one query count.

        Shape:
            queries [B, D] float32 -> [B, D], bound [B] float32.
        """

    def block(self, asked: Tensor, start: int, stop: int) -> Tensor:
        """Return the products with rows `start` to `stop`, float32 [B, M]."""


class Float32:
    """Float32 rows, widened here if they are few enough."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        # A GPU widens a block at no cost; a CPU takes longer for that than for a small product.
        if matrix.device.type == "cpu" and matrix.numel() * 4 <= RESIDENT_BYTES:
            self._matrix = matrix.float()

    def ask(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """As `Products.ask`."""
        return queries, product_error(queries)

    def block(self, asked: Tensor, start: int, stop: int) -> Tensor:
        """As `Products.block`."""
        return asked @ self._matrix[start:stop].float().T


class BFloat16:
    """Rows rounded to bfloat16, in memory if they are few enough, else block by block."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        if matrix.numel() * 2 <= RESIDENT_BYTES:
            self._matrix = matrix.bfloat16()

    def ask(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """As `Products.ask`; each factor, and the product, is rounded to 8 bits (2⁻⁹ relative)."""
        unit = 3 * 2.0**-9 + 2.0**-15 + (queries.shape[1] + 2) * 2.0**-23
        return queries.bfloat16(), queries.norm(dim=1) * (unit * _LONGEST)

    def block(self, asked: Tensor, start: int, stop: int) -> Tensor:
        """As `Products.block`."""
        return (asked @ self._matrix[start:stop].bfloat16().T).float()


class Int8:
    """Rows as int8 codes: x ≈ mean + scale · code, with the mean common to all rows.

    What all rows share takes no part in which row is nearest, and without it the codes are finer.
    The bound is not assumed but measured: with x − mean = s·z + e and q = t·y + f, a product
    s·t·(z·y) is off by q·e + f·(s·z), so by at most ‖q‖·max‖e‖ + ‖f‖·max‖s·z‖.
    """

    def __init__(self, matrix: Tensor) -> None:
        rows, dim = matrix.shape
        # Any vector would do as the mean: a sample of the rows is near enough.
        self._mean = matrix[:: max(1, rows // _SAMPLE)].float().mean(dim=0)
        self._codes = torch.empty(rows, dim, dtype=torch.int8)
        self._scales = torch.empty(rows)
        starts = range(0, rows, _BLOCK)

        def work(take: Take) -> tuple[float, float]:
            worst = longest = 0.0
            for number in iter(take, None):
                part = slice(starts[number], starts[number] + _BLOCK)
                vectors = matrix[part].to(torch.float32, copy=True).sub_(self._mean)
                codes, scales, error = _quantise(vectors)
                if not bool(torch.isfinite(error).all()):
                    raise DamagedError(
                        "the cache holds embeddings that are not finite",
                        hint="lqtse-cache verify shows which",
                    )
                self._codes[part], self._scales[part] = codes, scales
                worst = max(worst, float(error.max()))
                longest = max(longest, float((vectors.norm(dim=1) + error).max()))
            return worst, longest

        found = share_out(work, len(starts))
        self._worst = max((worst for worst, _ in found), default=0.0)
        self._longest = max((longest for _, longest in found), default=0.0)

    def ask(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """As `Products.ask`, in the unit of each query's own scale."""
        codes, scales, error = _quantise(queries)
        norms = queries.norm(dim=1)
        bound = norms * self._worst + error * self._longest
        # What float32 rounds along the way: the norms, the mean, the scales, the final score.
        bound = bound * (1 + 1e-4) + norms * ((self._longest + _LONGEST) * 2.0**-20)
        return codes, bound / scales

    def block(self, asked: Tensor, start: int, stop: int) -> Tensor:
        """As `Products.block`."""
        whole = torch._int_mm(asked, self._codes[start:stop].T)
        return whole.float().mul_(self._scales[start:stop])


def _quantise(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return int8 codes, scales, and the norms of what they leave out: [n, D], [n], [n]."""
    # In place where it can be: fresh memory costs more here than the arithmetic.
    largest = torch.maximum(vectors.amax(dim=1), vectors.amin(dim=1).neg_())
    scales = (largest / 127).clamp(min=_TINY)
    rounded = (vectors / scales[:, None]).round_()
    codes = rounded.to(torch.int8)
    error = rounded.mul_(scales[:, None]).sub_(vectors).norm(dim=1)
    return codes, scales, error


FORMS: dict[str, Callable[[Tensor], Products]] = {
    "float32": Float32,
    "bfloat16": BFloat16,
    "int8": Int8,
}
