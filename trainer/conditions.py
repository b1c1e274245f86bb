"""The conditions of a step: what is wanted, and for some mixtures also what is not.

What is wanted is told by the embedding of the target's whole clip, or, where the crops of a step
are embedded, by that of the very sound that is to be found. What is not is always told by clips.

A step's random numbers are a function of the seed, the step and the item's place in the whole
batch, whichever process works on it: two processes of B mixtures, or two accumulated batches, draw
what one of 2 B would.

Letters: B batch of one process, D embedding size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trainer.conditioning.base import uniform
from trainer.conditioning.negative import beside, steer_away
from trainer.config import TrainConfig

if TYPE_CHECKING:
    from torch import Generator, Tensor, device

    from trainer.conditioning.conditioner import Conditioner

_DRAWS, _NEGATIVES, _OTHERS = 0x10D1, 0x10D2, 0x10D3  # purposes of random numbers


class StepConditions:
    """Makes the conditions of a process's share of a step.

    Args:
        config: Of the run.
        conditioner: The conditions of clips.
        device: Where they are wanted.
        rank: Of this process.
        world: How many processes.
        hear: Embeds the targets of a step, [B, T] to [B, D] at unit norm; None to go by clips.
        takes_negative: Whether the separator takes what is not wanted as a second half of its
            condition; else the first is steered away from it.

    Attributes:
        seconds: Spent here so far.
    """

    def __init__(
        self,
        config: TrainConfig,
        conditioner: Conditioner,
        device: device,
        rank: int = 0,
        world: int = 1,
        hear: Callable[[Tensor], Tensor] | None = None,
        takes_negative: bool = False,
    ) -> None:
        self.seconds = 0.0
        self._config = config
        self._conditioner = conditioner
        self._device = device
        self._rank, self._world = rank, world
        self._parts = world * config.accumulate
        self._hear = hear
        self._takes_negative = takes_negative

    def __call__(
        self,
        step: int,
        clips: Tensor,
        interferers: Tensor,
        targets: Tensor | None = None,
        *,
        part: int = 0,
    ) -> Tensor:
        """Conditions for a batch.

        Args:
            step: Of the run, from 0.
            clips: The targets' rows in the table of clips, int64.
            interferers: Those of the interferers to leave out.
            targets: The targets' samples, where they are embedded.
            part: Which of the step's accumulated batches, from 0.

        Shape:
            clips, interferers: [B]; targets: [B, T]. Output: float32 [B, D], unit norm; [B, 2 D]
            where the configuration asks for negatives and the separator takes them.
        """
        begin = time.monotonic()
        place = part * self._world + self._rank
        heard = None
        if self._hear is not None and targets is not None:
            heard = self._hear(targets)
        condition = self._draw(_DRAWS, step, place, clips, heard)
        if self._config.negative:
            unwanted = self._draw(_OTHERS, step, place, interferers)
            generator = self._generator(_NEGATIVES, step)
            chosen = uniform(condition, (self._parts * len(clips), 1), generator)
            with_negative = _share(chosen, place, len(clips)) < self._config.negative_share
            if self._takes_negative:
                condition = beside(condition, unwanted * with_negative)
            else:
                steered = steer_away(condition, unwanted, self._config.negative)
                condition = steered.where(with_negative, condition)
        self.seconds += time.monotonic() - begin
        return condition

    def _draw(
        self, purpose: int, step: int, place: int, clips: Tensor, heard: Tensor | None = None
    ) -> Tensor:
        """Conditions by clips, or by what was heard of them."""
        if self._conditioner.strategy.deterministic:
            return self._of(clips, heard, None)
        # The other places are filled with our clips: only the draws count.
        everyone = clips.repeat(self._parts)
        if heard is not None:
            heard = heard.repeat(self._parts, 1)
        drawn = self._of(everyone, heard, self._generator(purpose, step))
        return _share(drawn, place, len(clips))

    def _of(self, clips: Tensor, heard: Tensor | None, generator: Generator | None) -> Tensor:
        if heard is None:
            return self._conditioner(clips, generator)
        return self._conditioner.live(heard, clips, generator)

    def _generator(self, purpose: int, step: int) -> Generator:
        import torch

        seeds = np.random.SeedSequence([self._config.seed, purpose, step, 0])
        generator = torch.Generator(self._device)
        generator.manual_seed(int(seeds.generate_state(1)[0]))
        return generator


def _share(values: Tensor, place: int, batch: int) -> Tensor:
    """The rows of the part at `place`."""
    return values[place * batch : (place + 1) * batch]
