"""Which items of the stream of mixtures make up a batch.

A function of the step, the process and the number of processes alone: a resumed run goes on with
the very items that it would have had. A step that accumulates A batches on each of W processes
works on A · W parts of B items: batch m of process r is part m · W + r. So 2 batches of B, or 2
processes, have the items that one batch of 2 B would.

Letters: B batch, A accumulated batches, W processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.utils.data import DataLoader, Sampler

from trainer.config import TrainConfig
from trainer.data import MixtureDataset, collate

if TYPE_CHECKING:
    from trainer.prepare import Prepared

_Batch = TypeVar("_Batch")


class Batches(Sampler[int]):
    """Items of one process, from step `start` on.

    Args:
        start: First step.
        steps: Of the whole run.
        batch_size: B, of one process.
        rank: Of this process.
        world: How many processes.
        accumulate: A.
    """

    def __init__(
        self, start: int, steps: int, batch_size: int, rank: int, world: int, accumulate: int = 1
    ) -> None:
        self._rounds = range(start * accumulate, steps * accumulate)
        self._batch_size, self._rank, self._world = batch_size, rank, world

    def __iter__(self) -> Iterator[int]:
        for number in self._rounds:
            first = (number * self._world + self._rank) * self._batch_size
            yield from range(first, first + self._batch_size)

    def __len__(self) -> int:
        return len(self._rounds) * self._batch_size


def load_batches(
    config: TrainConfig,
    prepared: Prepared,
    start: int,
    rank: int,
    world: int,
    *,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """Batches of `trainer.data.Item` for one process, from step `start` to the last.

    Args:
        config: The configuration.
        prepared: The clips and their sound.
        start: First step.
        rank: Of this process.
        world: How many processes.
        pin_memory: Whether a GPU waits for them.
    """
    dataset = MixtureDataset.from_config(prepared.clips, config, audio=prepared.audio)
    return DataLoader(
        dataset,
        config.batch_size,
        sampler=Batches(start, config.steps, config.batch_size, rank, world, config.accumulate),
        num_workers=config.workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        # A generator of its own: the global one would be drawn from at every start.
        generator=torch.Generator(),
    )


def grouped(batches: Iterable[_Batch], n: int) -> Iterator[tuple[_Batch, ...]]:
    """Batches in tuples of `n`; a rest that does not fill one is left out."""
    return zip(*[iter(batches)] * n, strict=False)
