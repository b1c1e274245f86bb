"""How many texts go through a text tower: read ahead by a thread, in batches of about equal work.

Letters: n texts, B of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Result = TypeVar("Result")


def batches(
    lengths: NDArray[np.int64], *, tokens: int, most: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Cut texts into batches, longest first, equal lengths side by side.

    Longest first, because a batch that does not fit the device's memory then fails at once.

    Args:
        lengths: Tokens of each text. Shape: `[n]`.
        tokens: What a batch may hold; a text that is longer is a batch of its own.
        most: Texts that a batch may hold, None for any number.

    Yields:
        The texts of one batch. Shape: `[B]`.
    """
    order = np.argsort(-lengths, kind="stable")
    begin = held = 0
    for end, text in enumerate(order):
        full = held + lengths[text] > tokens or end - begin == most
        if full and end > begin:
            yield order[begin:end]
            begin, held = end, 0
        held += int(lengths[text])
    if begin < len(order):
        yield order[begin:]


def ahead(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Do the work of the next item in a thread, while the caller uses that of this one.

    A single item is worked on in the caller's thread. What `work` raises comes in its turn.
    """
    waiting = iter(items)
    given = list(islice(waiting, 2))
    if len(given) < 2:
        yield from map(work, given)
        return
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(work, given[0])
        for item in (given[1], *waiting):
            ready, following = following, thread.submit(work, item)
            yield ready.result()
        yield following.result()
