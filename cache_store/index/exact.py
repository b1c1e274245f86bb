"""Exact search: one matrix product over the whole cache, in blocks.

Cost: B·N·D multiply-adds and one pass over the matrix; memory beyond the matrix is bounded by the
block, whatever N and B. The product makes a short list of k and some more rows; `rerank` gives them
their final scores. If the short list might have missed a row, because its last product lies within
the product's error bound of the k-th final score, it is made again, four times as wide, for the
queries concerned: so the answer is exact even where many captions are almost, or entirely, equal.

Letters: B queries, N rows, D embedding size, K neighbours, W width of the short list.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache_store.errors import DamagedError, DataError, MismatchError, UsageError
from cache_store.index.rerank import IdLookup, order, product_error, rescore

SLACK = 16  # rows of the short list beyond k
_BLOCK_BYTES = 16 << 20  # scores, or widened vectors, of one block
_RESIDENT_BYTES = 2 << 30  # a float16 matrix on a CPU is kept as float32 up to this size
_QUERIES = 1024  # queries searched at once
_RUN = 64  # neighbouring columns that share a maximum
_LIST_CELLS = 1 << 22  # queries times width searched at once


class ExactIndex:
    """The best rows of a matrix by inner product; ties go to the smaller caption id.

    Args:
        matrix: The stored vectors, float16 or float32, [N, D]; moved to `device`.
        ids: The captions' ids, or a function from rows to ids; read only where scores are equal.
            Without them the smaller row wins a tie.
        device: Where to search.
        block_rows: Rows to multiply at once; by default as many as keep a block at 16 MiB.
        excluded: Rows (int64) that are never returned.
    """

    def __init__(
        self,
        matrix: Tensor,
        ids: Sequence[str] | IdLookup | None = None,
        device: str | torch.device = "cpu",
        block_rows: int | None = None,
        excluded: Tensor | None = None,
    ) -> None:
        if matrix.ndim != 2 or matrix.dtype not in (torch.float16, torch.float32):
            raise UsageError(
                "cannot search this matrix",
                expected="float16 or float32 [N, D]",
                found=f"{matrix.dtype} {list(matrix.shape)}",
            )
        self.device = torch.device(device)
        self.block_rows = block_rows
        self.matrix = matrix.to(self.device)
        # A GPU widens a block at no cost; a CPU takes longer for that than for a small product.
        if self.device.type == "cpu" and matrix.numel() * 4 <= _RESIDENT_BYTES:
            self.matrix = self.matrix.float()
        self._ids = _lookup(ids)
        self._live: Tensor | None = None
        if excluded is not None and excluded.numel():
            self._live = torch.ones(len(matrix), dtype=torch.bool, device=self.device)
            self._live[excluded.to(self.device)] = False
        self._count = len(matrix) if self._live is None else int(self._live.sum())

    def __len__(self) -> int:
        """The number of rows that a search can return."""
        return self._count

    @property
    def live(self) -> Tensor | None:
        """Which rows a search can return, bool [N]; None where it can return all."""
        return self._live

    def with_matrix(self, matrix: Tensor) -> ExactIndex:
        """The same rows, ids and exclusions with other vectors: a search in another geometry.

        Args:
            matrix: float16 or float32 [N, D], row by row those of this index.

        Raises:
            UsageError: If it has another number of rows.
        """
        if len(matrix) != len(self.matrix):
            raise UsageError(
                "the vectors are not those of the same rows",
                expected=len(self.matrix),
                found=len(matrix),
            )
        excluded = None if self._live is None else torch.nonzero(~self._live)[:, 0]
        return ExactIndex(matrix, self._ids, self.device, self.block_rows, excluded)

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the k best rows for each query.

        Args:
            queries: Floats of any precision, on any device; they need not be of unit norm.
            k: From 1 to the number of rows.

        Returns:
            Scores (float32, larger first) and rows (int64), on the index's device.

        Shape:
            queries [B, D] -> scores [B, K], rows [B, K].

        Raises:
            UsageError: If k is out of range.
            MismatchError: If the queries have another width than the rows.
            DataError: If a query holds NaN or infinity.
            DamagedError: If a stored vector does.
        """
        self._check(queries, k)
        queries = queries.to(self.device, torch.float32)
        # A trainer's autocast would make the product half precision without a word.
        with torch.autocast(self.device.type, enabled=False):
            return self._search(queries, k, min(len(self.matrix), k + SLACK))

    def _check(self, queries: Tensor, k: int) -> None:
        check_queries(queries, self.matrix.shape[1])
        check_k(k, len(self))

    def _search(self, queries: Tensor, k: int, width: int) -> tuple[Tensor, Tensor]:
        """Search with a short list of this width at first; in parts, so that memory is bounded."""
        scores = torch.empty(len(queries), k, dtype=torch.float32, device=self.device)
        rows = torch.empty(len(queries), k, dtype=torch.int64, device=self.device)
        step = max(1, min(_QUERIES, _LIST_CELLS // width))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            scores[part], rows[part] = self._search_part(queries[part], k, width)
        return scores, rows

    def _search_part(self, queries: Tensor, k: int, width: int) -> tuple[Tensor, Tensor]:
        products, candidates = self._shortlist(queries, width)
        candidates.masked_fill_(products == -torch.inf, -1)
        final = rescore(self.matrix, queries, candidates)
        if bool((torch.isnan(final) | (final == torch.inf)).any()):
            raise DamagedError(
                "the cache holds embeddings that are not finite",
                hint="lqtse-cache verify shows which",
            )
        scores, rows = order(final, candidates, k, self._ids)
        if width < len(self.matrix):
            # A row outside the list has a product of at most the list's last.
            reach = products[:, -1] + product_error(queries)
            unsure = (reach >= scores[:, -1]).nonzero().flatten()
            if len(unsure):
                wider = min(len(self.matrix), 4 * width)
                scores[unsure], rows[unsure] = self._search(queries[unsure], k, wider)
        return scores, rows

    def _shortlist(self, queries: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return the `width` largest products and their rows, larger first: [B, W] each."""
        best = torch.empty(len(queries), 0, device=self.device)
        rows = torch.empty(len(queries), 0, dtype=torch.int64, device=self.device)
        step = self.block_rows or self._block_rows(len(queries))
        for start in range(0, len(self.matrix), step):
            block = self.matrix[start : start + step].float()
            products = queries @ block.T
            if self._live is not None:
                products.masked_fill_(~self._live[start : start + step], -torch.inf)
            top, columns = _largest(products, min(width, len(block)))
            best = torch.cat([best, top], dim=1)
            rows = torch.cat([rows, columns + start], dim=1)
            if best.shape[1] > width:
                best, kept = best.topk(width, dim=1)
                rows = rows.gather(1, kept)
        return best, rows

    def _block_rows(self, queries: int) -> int:
        widened = 0 if self.matrix.dtype == torch.float32 else self.matrix.shape[1]
        return max(1024, _BLOCK_BYTES // (4 * max(queries, widened, 1)))


def _largest(products: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the `width` largest values of each line and their columns, larger first.

    The largest values lie in the runs of columns with the largest maxima, as many runs as values:
    so one pass for the maxima and a `topk` over the few runs that count, which together take less
    than half the time of a `topk` over the whole line.

    Shape:
        products [B, M] -> [B, W] each.
    """
    runs = products.shape[1] // _RUN
    if runs < 4 * width:
        return products.topk(width, dim=1)
    whole, rest = products[:, : runs * _RUN], products[:, runs * _RUN :]
    folded = whole.unflatten(1, (runs, _RUN))
    chosen = folded.amax(dim=2).topk(width, dim=1).indices
    values = folded.gather(1, chosen[:, :, None].expand(-1, -1, _RUN)).flatten(1)
    top, places = torch.cat([values, rest], dim=1).topk(width, dim=1)
    inside = places < width * _RUN
    run = chosen.gather(1, torch.where(inside, places // _RUN, 0))
    columns = torch.where(inside, run * _RUN + places % _RUN, places + (runs - width) * _RUN)
    return top, columns


def check_queries(queries: Tensor, dim: int) -> None:
    """Check the queries of a search.

    Raises:
        MismatchError: If they are not [B, dim].
        DataError: If one holds NaN or infinity.
    """
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise MismatchError(
            "queries of the wrong width",
            expected=f"[B, {dim}]",
            found=list(queries.shape),
            hint="Embed them with the model that the cache was embedded with",
        )
    finite = torch.isfinite(queries).all(dim=1)
    if not bool(finite.all()):
        raise DataError(
            "a query holds NaN or infinity", where=f"query {int((~finite).nonzero()[0])}"
        )


def check_k(k: int, rows: int) -> None:
    """Check the number of neighbours.

    Raises:
        UsageError: If it is not from 1 to `rows`.
    """
    if not 1 <= k <= rows:
        raise UsageError(
            "cannot find so many neighbours" if k > rows else "bad number of neighbours",
            expected=f"k from 1 to {rows}, the number of captions",
            found=k,
        )


def _lookup(ids: Sequence[str] | IdLookup | None) -> IdLookup | None:
    if ids is None or callable(ids):
        return ids
    names = np.asarray(ids)

    def lookup(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
        return names[rows]

    return lookup
