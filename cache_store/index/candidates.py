"""The rows that may be among the k best of a query, gathered block by block in one pass.

If products are within e of the true scores, a row whose product lies more than 2e below the k-th
best product is none of the k best: k rows are truly better. So every row within 2e of the k-th best
product so far is kept, and no other: the list is as long as the data asks for, however many
captions are almost, or entirely, equal.

A block costs one pass for the maxima of its runs; only runs whose maximum may matter are opened.

Letters: B queries, M rows of a block, R runs of a block, K neighbours, P pairs of query and row.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

_RUN = 16  # rows that share a maximum, at most


class TooManyError(Exception):
    """More candidates than may be held; never leaves this package."""


class Pairs(NamedTuple):
    """Candidates: the numbers of queries, rows, and their products, [P] each."""

    queries: Tensor
    rows: Tensor
    values: Tensor


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
        self._best = margin.new_full((len(margin), k), -torch.inf)  # products of different rows
        self._kept: list[Pairs] = []
        self._count = 0

    def add(self, products: Tensor, start: int) -> None:
        """Look at the products [B, M] with rows `start`, `start` + 1 ... ; -inf is no candidate.

        Raises:
            TooManyError: If there are too many candidates.
        """
        # A run takes every R-th column: maxima over those are quicker than over neighbours, and
        # near relatives, which are often neighbours, fall into different runs.
        length = max(1, min(_RUN, products.shape[1] // (4 * self._k)))
        runs = products.shape[1] // length
        folded = products[:, : runs * length].unflatten(1, (length, runs))
        heads = torch.cat([folded.amax(dim=1), products[:, runs * length :]], dim=1)
        # Not under the lock: a thread put aside here must not hold up the others. Where two write
        # at once, what one of them found is lost, and the floor is lower than it might be.
        best = torch.cat([self._best, heads], dim=1).topk(self._k, dim=1).values
        self._best = best
        floor = _floor(best, self._margin)
        lines, columns = _not_below(heads, floor)
        if not len(lines):
            return
        single = columns >= runs
        opened, numbers = lines[~single], columns[~single]
        inside, places = _not_below(folded[opened, :, numbers], floor[opened])
        queries = torch.cat([opened[inside], lines[single]])
        columns = torch.cat(
            [numbers[inside] + places * runs, columns[single] + runs * (length - 1)]
        )
        found = Pairs(queries, columns + start, products[queries, columns])
        with self._lock:
            self._kept.append(found)
            self._count += len(queries)
            if self._count > self._limit:
                self._prune()
            if self._count > self._limit:
                raise TooManyError

    def pairs(self) -> Pairs:
        """Return the candidates, query by query."""
        self._prune()
        return self._kept[0]

    def _prune(self) -> None:
        if not self._kept:
            empty = torch.empty(0, dtype=torch.int64, device=self._margin.device)
            self._kept = [Pairs(empty, empty, self._margin[:0])]
        pairs = Pairs(*(torch.cat(parts) for parts in zip(*self._kept, strict=True)))
        self._kept = [keep_best(pairs, self._margin, self._k)]
        self._count = len(self._kept[0].queries)


def keep_best(pairs: Pairs, margin: Tensor, k: int) -> Pairs:
    """Return the pairs within `margin` [B] of their query's k-th best, query by query."""
    by_query = pairs.queries.argsort(stable=True)
    pairs = Pairs(*(part[by_query] for part in pairs))
    table = spread(pairs.queries, pairs.values, len(margin), k, -torch.inf)
    floor = _floor(table.topk(k, dim=1).values, margin)
    keep = ~(pairs.values < floor[pairs.queries])
    return Pairs(*(part[keep] for part in pairs))


def spread(queries: Tensor, values: Tensor, count: int, width: int, empty: float) -> Tensor:
    """Return values [P] as lines, one for each query; `queries` must ascend.

    Args:
        queries: The query of each value, from 0 to `count` - 1.
        values: What to spread.
        count: B.
        width: The least number of columns.
        empty: What fills a line's end.

    Shape:
        queries [P], values [P] -> [B, W].
    """
    lengths = torch.bincount(queries, minlength=count)
    width = max(width, int(lengths.max()) if len(queries) else 0)
    place = torch.arange(len(queries), device=queries.device)
    place = place - (lengths.cumsum(0) - lengths)[queries]
    lines = values.new_full((count, width), empty)
    lines[queries, place] = values
    return lines


def _floor(best: Tensor, margin: Tensor) -> Tensor:
    # NaN, of a damaged row, must not hide that row behind a bound that nothing passes.
    return (best[:, -1] - margin).nan_to_num(torch.inf, torch.inf, -torch.inf)


def _not_below(values: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    # "Not below" instead of "at least" lets NaN through, to be found out; -inf stays out.
    lines, columns = (~(values < floor[:, None]) & (values != -torch.inf)).nonzero(as_tuple=True)
    return lines, columns
