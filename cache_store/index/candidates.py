"""The rows that may be among the k best of a query, gathered block by block in one pass.

If products are within e of the true scores, a row whose product lies more than 2e below the k-th
best product is none of the k best: k rows are truly better. So every row within 2e of the k-th best
product so far is kept, and no other: the list is as long as the data asks for, however many
captions are almost, or entirely, equal.

Letters: B queries, M rows of a block, R runs of neighbouring rows, K neighbours, W candidates.
"""

from __future__ import annotations

from threading import Lock

import torch
from torch import Tensor

_RUN = 64  # neighbouring rows that share a maximum


class TooManyError(Exception):
    """More candidates than may be held; never leaves this package."""


class Candidates:
    """What was kept so far; threads may add blocks at once.

    Args:
        margin: 2e for each query.
        k: K.
        limit: How many candidates may be held, of all queries together.

    Shape:
        margin [B].
    """

    def __init__(self, margin: Tensor, k: int, limit: int) -> None:
        self._margin = margin
        self._k = k
        self._limit = limit
        self._lock = Lock()
        self._best = margin.new_full((len(margin), k), -torch.inf)
        self._floor = margin.new_full((len(margin),), -torch.inf)
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []
        self._count = 0

    def add(self, products: Tensor, start: int) -> None:
        """Look at the products [B, M] with rows `start`, `start` + 1 ... ; -inf is no candidate.

        Raises:
            TooManyError: If there are too many candidates.
        """
        queries, columns = self._above(products)
        if not len(queries):
            return
        values = products[queries, columns]
        with self._lock:
            self._best = _merge(self._best, queries, values)
            # NaN, of a damaged row, must not hide that row behind a bound that nothing passes.
            floor = self._best[:, -1] - self._margin
            self._floor = torch.maximum(self._floor, floor.nan_to_num(torch.inf, torch.inf))
            self._kept.append((queries, columns + start, values))
            self._count += len(queries)
            if self._count > self._limit:
                self._prune()
            if self._count > self._limit:
                raise TooManyError

    def rows(self) -> Tensor:
        """Return the candidates of each query, int64 [B, W], -1 where there is none.

        Raises:
            TooManyError: If one query has so many that the others' lines would be mostly empty.
        """
        self._prune()
        queries, rows, _ = self._kept[0]
        lines, place, width = _lines(queries, len(self._margin))
        width = max(width, self._k)
        if width * len(self._margin) > self._limit and len(self._margin) > 1:
            raise TooManyError
        out = rows.new_full((len(self._margin), width), -1)
        out[queries[lines], place] = rows[lines]
        return out

    def _above(self, products: Tensor) -> tuple[Tensor, Tensor]:
        """Return the query and column of each product that is not below its query's floor."""
        runs = products.shape[1] // _RUN
        whole, rest = products[:, : runs * _RUN], products[:, runs * _RUN :]
        floor = self._floor
        folded = whole.unflatten(1, (runs, _RUN)) if runs else whole.reshape(len(whole), 0, _RUN)
        highest = folded.amax(dim=2)
        if runs >= self._k and bool((floor == -torch.inf).any()):
            # k runs hold k rows at least as good as the k-th best maximum.
            at_least = highest.topk(self._k, dim=1).values[:, -1] - self._margin
            floor = torch.maximum(floor, at_least.nan_to_num(-torch.inf, torch.inf))
        # "Not below" instead of "at least" lets NaN through, to be found out; -inf stays out.
        lines, numbers = _not_below(highest, floor)
        inside, places = _not_below(folded[lines, numbers], floor[lines])
        queries, columns = lines[inside], numbers[inside] * _RUN + places
        if rest.shape[1]:
            more, last = _not_below(rest, floor)
            queries = torch.cat([queries, more])
            columns = torch.cat([columns, last + runs * _RUN])
        return queries, columns

    def _prune(self) -> None:
        if not self._kept:
            empty = torch.empty(0, dtype=torch.int64, device=self._margin.device)
            self._kept = [(empty, empty, self._margin[:0])]
        queries, rows, values = (torch.cat(parts) for parts in zip(*self._kept, strict=True))
        keep = ~(values < self._floor[queries])
        self._kept = [(queries[keep], rows[keep], values[keep])]
        self._count = len(self._kept[0][0])


def _not_below(values: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    lines, columns = (~(values < floor[:, None]) & (values != -torch.inf)).nonzero(as_tuple=True)
    return lines, columns


def _merge(best: Tensor, queries: Tensor, values: Tensor) -> Tensor:
    """Return the largest of `best` [B, K] and of further values, each of its query."""
    lines, place, width = _lines(queries, len(best))
    more = best.new_full((len(best), width), -torch.inf)
    more[queries[lines], place] = values[lines]
    return torch.cat([best, more], dim=1).topk(best.shape[1], dim=1).values


def _lines(queries: Tensor, count: int) -> tuple[Tensor, Tensor, int]:
    """Return an order by query, each entry's place in its query's line, and the longest line."""
    lines = queries.argsort(stable=True)
    lengths = torch.bincount(queries, minlength=count)
    ends = lengths.cumsum(0)
    place = torch.arange(len(queries), device=queries.device)
    place = place - (ends - lengths)[queries[lines]]
    return lines, place, int(lengths.max()) if len(lengths) else 0
