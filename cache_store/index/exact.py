"""Exact search: one matrix product over the whole cache, in blocks.

Cost: B·N·D multiply-adds and one pass over the rows. The product may be coarse (`precision`): it
only chooses candidates, every row that its error bound lets into the answer (`scan`), and `rerank`
gives those their final scores. So the answer is exact in any precision, even where many
captions are almost, or entirely, equal.

Memory on a CPU, beside the matrix, which may be memory-mapped: the rows in the form that is
multiplied, half of a float16 matrix in int8, and none for rows that would take more than 2 GiB;
and the blocks, whatever N and B.

Letters: B queries, N rows, D embedding size, K neighbours, W candidates of a query.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cache_store.errors import DamagedError, DataError, MismatchError, UsageError
from cache_store.index.candidates import TooManyError
from cache_store.index.choice import choose
from cache_store.index.precision import FORMS, Products
from cache_store.index.rerank import IdLookup, order, rescore
from cache_store.index.scan import scan

_QUERIES = 1024  # queries searched at once
_LIST_CELLS = 1 << 22  # candidates held at once


class ExactIndex:
    """The best rows of a matrix by inner product; ties go to the smaller caption id.

    Args:
        matrix: The stored vectors, float16 or float32, [N, D]; moved to `device`.
        ids: The captions' ids, or a function from rows to ids; read only where scores are equal.
            Without them the smaller row wins a tie.
        device: Where to search.
        block_rows: Rows to multiply at once; by default as many as suit the device.
        excluded: Rows (int64) that are never returned.
        precision: "float32", "bfloat16" or "int8" to choose candidates in; "auto" takes what this
            machine multiplies fastest. The answer does not depend on it.
    """

    def __init__(
        self,
        matrix: Tensor,
        ids: Sequence[str] | IdLookup | None = None,
        device: str | torch.device = "cpu",
        block_rows: int | None = None,
        excluded: Tensor | None = None,
        precision: str = "auto",
    ) -> None:
        if precision not in ("auto", *FORMS):
            raise UsageError(
                "unknown precision", expected=", ".join(("auto", *FORMS)), found=repr(precision)
            )
        if matrix.ndim != 2 or matrix.dtype not in (torch.float16, torch.float32):
            raise UsageError(
                "cannot search this matrix",
                expected="float16 or float32 [N, D]",
                found=f"{matrix.dtype} {list(matrix.shape)}",
            )
        self.device = torch.device(device)
        self.block_rows = block_rows
        self.matrix = matrix.to(self.device)
        self._precision = precision
        self._products: Products | None = None  # made by the first search: that costs a pass
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
        return ExactIndex(
            matrix, self._ids, self.device, self.block_rows, excluded, self._precision
        )

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
            return self._search(queries, k)

    def _check(self, queries: Tensor, k: int) -> None:
        check_queries(queries, self.matrix.shape[1])
        check_k(k, len(self))

    def _search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Search for some queries at once, so that memory is bounded."""
        scores = torch.empty(len(queries), k, dtype=torch.float32, device=self.device)
        rows = torch.empty(len(queries), k, dtype=torch.int64, device=self.device)
        for start in range(0, len(queries), _QUERIES):
            part = slice(start, start + _QUERIES)
            scores[part], rows[part] = self._search_part(queries[part], k)
        return scores, rows

    def _search_part(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        if self._products is None:
            self._products = choose(self.matrix, self._precision)
        limit = _LIST_CELLS if len(queries) > 1 else len(self.matrix) + k
        try:
            candidates = scan(
                self._products, self.matrix, queries, k, limit, self._live, self.block_rows
            )
        except TooManyError:
            # Very many almost equal rows: fewer queries at once, in the end one alone.
            half = len(queries) // 2
            parts = [self._search_part(part, k) for part in (queries[:half], queries[half:])]
            scores, rows = (torch.cat(pair) for pair in zip(*parts, strict=True))
            return scores, rows
        final = rescore(self.matrix, queries, candidates)
        if bool((torch.isnan(final) | (final == torch.inf)).any()):
            raise DamagedError(
                "the cache holds embeddings that are not finite",
                hint="lqtse-cache verify shows which",
            )
        return order(final, candidates, k, self._ids)


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
