"""One optimizer step: the loss of its batches, their gradients, the change of the weights.

A step is told all that differs from one to the next: its number, from which its learning rate and
random numbers follow, and its batches. What is kept between steps is the optimizer's state.

Letters: B batch of one process, T samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from cache_store.errors import DataError
from trainer.conditions import StepConditions
from trainer.config import TrainConfig
from trainer.losses import build_loss
from trainer.run import RunFolder
from trainer.schedule import learning_rate

if TYPE_CHECKING:
    from accelerate import Accelerator


class Step:
    """The steps of one process.

    Args:
        config: The configuration.
        folder: The run's, to be named in errors.
        accelerator: Of this process.
        conditions: What is asked for.
        model: The separator, as `accelerator` prepared it.
        optimizer: Its optimizer, prepared too.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        accelerator: Accelerator,
        conditions: StepConditions,
        model: Any,
        optimizer: Any,
    ) -> None:
        self._config = config
        self._folder = folder
        self._accelerator = accelerator
        self._conditions = conditions
        self._model, self._optimizer = model, optimizer
        self._loss = build_loss(config.loss)

    def __call__(self, number: int, batches: Sequence[dict[str, torch.Tensor]]) -> float:
        """Take one step.

        Args:
            number: Which of the run, from 0.
            batches: Collated `trainer.data.Item`, whose gradients make this step.

        Returns:
            The mean loss over all batches and processes.

        Raises:
            DataError: The loss is not finite; the weights are those of before.
        """
        config, accelerator = self._config, self._accelerator
        rate = learning_rate(
            number,
            steps=config.steps,
            peak=config.lr,
            warmup=config.warmup,
            kind=config.schedule,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        total = torch.zeros((), device=accelerator.device)
        for part, batch in enumerate(batches):
            last = part == len(batches) - 1
            # The processes' gradients meet once a step, not once a batch.
            with nullcontext() if last else accelerator.no_sync(self._model):
                loss = self._loss_of(number, part, batch) / len(batches)
                accelerator.backward(loss)
            total += loss.detach()
        # All processes hear the same, so that they also fail together.
        value = float(accelerator.reduce(total, "mean"))
        if not math.isfinite(value):
            raise DataError(
                f"the loss is {value} at step {number + 1}",
                where=self._folder.path,
                hint="Try a lower --lr; the checkpoint before it is kept",
            )
        if config.clip_norm:
            accelerator.clip_grad_norm_(self._model.parameters(), config.clip_norm)
        self._optimizer.step()
        return value

    def _loss_of(self, number: int, part: int, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The mean loss of a batch; a scalar."""
        condition = self._conditions(
            number, batch["clip"], batch["interferer"], batch["target"], part=part
        )
        mixture, target = (
            batch[name].to(self._accelerator.device, non_blocking=True)
            for name in ("mixture", "target")
        )
        return self._loss(self._model(mixture, condition), target)
