"""In which precision to multiply: the one whose products this machine computes fastest.

Measured on random rows, once a process, in a tenth of a second. Whole searches of a
sample would say less: what a coarse product costs at the end of a search, some milliseconds for
more candidates, depends on the vectors and not on how many rows there are, and random vectors have
several times as many. The answers do not depend on the choice.
"""

from __future__ import annotations

import functools
import time

import torch
from torch import Tensor

from cache_store.index.auto import RESIDENT_BYTES
from cache_store.index.precision import FORMS, Products
from cache_store.index.workers import Take, share_out

# Vectors shorter than this gain nothing; and PyTorch's product of int8 is wrong for D = 1.
_NARROW = 16
_SMALL = 8192  # rows that are searched in float32 sooner than the fastest precision is found
_SIZES = 4096, 64, 512  # rows, queries and dimensions of the product that is timed
_TURNS = 4


def choose(matrix: Tensor, precision: str) -> Products:
    """Return the rows in a precision of `FORMS`, or for "auto" in the fastest one.

    Raises:
        DamagedError: If a row is not finite (int8; other forms give such rows as candidates).
    """
    rows, dim = matrix.shape
    if dim < _NARROW:
        precision = "float32"
    if precision == "auto":
        precision = "float32"
        if matrix.device.type == "cpu" and rows > _SMALL:
            # Codes of int8 are not made block by block: they must fit.
            forms = [name for name in FORMS if name != "int8" or rows * dim <= RESIDENT_BYTES]
            precision = min(forms, key=seconds)
    return FORMS[precision](matrix)


@functools.cache
def seconds(precision: str) -> float:
    """Return the seconds of a product on one thread; infinity where it can't be had."""
    count, queries, dim = _SIZES
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(count + queries, dim, generator=generator) / dim**0.5

    def work(take: Take) -> float:
        form = FORMS[precision](drawn[queries:])
        asked, _ = form.ask(drawn[:queries])
        taken = []
        for _ in range(_TURNS):
            begin = time.perf_counter()
            form.block(asked, 0, count)
            taken.append(time.perf_counter() - begin)
        return min(taken)

    try:
        return float(share_out(work, 2)[0])
    except (RuntimeError, AttributeError):  # this build of PyTorch lacks the operation
        return float("inf")
