"""The training loop, and what makes it stop and go on without a trace.

Step s works on items s·B to (s + 1)·B − 1 of the stream of mixtures (B is the whole batch: several
processes, or batches whose gradients are accumulated, each have a share), and its learning rate and
random numbers are functions of s and the seed. So a checkpoint of weights, optimizer and step is
all it takes: on a CPU with the same number of threads a resumed run ends with the very bits of one
that never stopped.

`accelerate` places the model, shares the work between processes and chooses the precision.

Letters: B whole batch, T samples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from cache_store.console import Advance, progress
from trainer.averaging import WeightAverage
from trainer.batches import grouped, load_batches
from trainer.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    random_states,
    restore_optimizer,
    restore_random,
    save_checkpoint,
)
from trainer.compiling import compiled
from trainer.conditions import StepConditions
from trainer.config import TrainConfig
from trainer.embeddings import embed_crops
from trainer.journal import Journal, Silence
from trainer.models.shared_norm import share_statistics
from trainer.prepare import Prepared
from trainer.run import RunFolder
from trainer.step import Step
from trainer.stopping import StopRequest
from trainer.validation import Validator

if TYPE_CHECKING:
    from accelerate import Accelerator

    from cache_store.spaces.base import Space
    from trainer.models import SeparatorModel


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        steps: Steps done, those before a resume included.
        seconds: Of this process, in the loop.
        seconds_per_step: Of this process, validation left out.
        retrieval_share: Of the time in the loop that went into making conditions.
        loss: Mean over the last reported steps; NaN if there was no step to do.
        best: `sdri` in dB and `step` of the best validation; empty without any.
        last: Scores of the last validation of this process.
        finished: Whether there is nothing left to do: all steps done, or none that would help.
    """

    steps: int
    seconds: float
    seconds_per_step: float
    retrieval_share: float
    loss: float
    best: Mapping[str, float]
    last: Mapping[str, float]
    finished: bool


class Trainer:
    """One run in one process.

    Args:
        config: The configuration.
        folder: The run's.
        prepared: What it works with.
        model: With its initial weights.
        accelerator: Of this process.

    Attributes:
        step: Steps done.
        finished: Whether the run has ended, early or after all its steps.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        prepared: Prepared,
        model: SeparatorModel,
        accelerator: Accelerator,
    ) -> None:
        self.config = config
        self.folder = folder
        self.step = 0
        self.finished = False
        self._prepared = prepared
        self._accelerator = accelerator
        self._model = model
        if accelerator.num_processes > 1:
            share_statistics(model, accelerator.device)
        self._average = WeightAverage(model, config.ema) if config.ema else None
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        self._validator = None
        if prepared.held_out is not None:
            self._validator = Validator(config, folder, prepared.held_out)
        self._conditions = StepConditions(
            config,
            prepared.conditioner,
            accelerator.device,
            accelerator.process_index,
            accelerator.num_processes,
            _hear(prepared.ears, config.sample_rate),
            model.takes_negative,
        )

    def restore(self) -> None:
        """Go on from the last checkpoint.

        Raises:
            DataError: There is none, or it is not ours.
        """
        checkpoint = load_checkpoint(self.folder.last)
        load_weights(self._model, checkpoint.model, self.folder.last)
        if self._average is not None:
            load_weights(self._average.model, checkpoint.average, self.folder.last)
        restore_optimizer(self._model, self._optimizer, checkpoint.optimizer)
        restore_random(checkpoint.random)
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(checkpoint.state["scaler"])
        self.step = checkpoint.step
        if self._validator is not None:
            self._validator.best = checkpoint.state["best"]
            self._validator.stale = checkpoint.state.get("stale", 0)
        # Runs of before early stopping have no such mark.
        done = self.step >= self.config.steps
        self.finished = checkpoint.state.get("finished", done)

    def run(self, stop: StopRequest) -> TrainResult:
        """Train to the last step, or until validation has not got better for long enough.

        Args:
            stop: Asked after every step; if set, the state is saved and the loop ends early.

        Raises:
            DataError: The loss is not finite.
        """
        config, accelerator = self.config, self._accelerator
        model, optimizer = accelerator.prepare(self._model, self._optimizer)
        model.train()
        if self._average is not None:
            self._average.model.to(accelerator.device)
        if config.compile and not self.finished:
            model = compiled(model, accelerator.device)
        take = Step(config, self.folder, accelerator, self._conditions, model, optimizer)
        begin, first = time.monotonic(), self.step
        losses: list[float] = []
        mean = math.nan
        main = accelerator.is_main_process
        with (
            self._journal() if main else Silence() as journal,
            progress("train", config.steps, "steps") if main else _quiet() as advance,
        ):
            advance(self.step)
            if not self.step and self._prepared.diagnosis is not None:
                journal.tell(0, "cache", self._prepared.diagnosis.to_dict())
            for batches in grouped(self._loader(), config.accumulate):
                losses.append(take(self.step, batches))
                self.step += 1
                if self._average is not None:
                    self._average.update(self._model, self.step)
                shown = {"loss": round(losses[-1], 2)}
                done = self.finished = self.step == config.steps
                if self.step % config.log_every == 0 or done:
                    mean = sum(losses) / len(losses)
                    journal.tell(self.step, "train", self._report(mean, begin, first))
                    losses.clear()
                if self.step % config.valid_every == 0 or done:
                    if main and self._validator is not None:
                        judged = self._average.model if self._average else self._model
                        self._validator(self.step, judged, journal)
                        self.finished = done or self._validator.given_up
                    self._save()
                advance(1, **shown, **self._shown())
                asked, self.finished = self._agreed(stop.requested, self.finished)
                if asked and not self.finished:
                    self._save()
                if asked or self.finished:
                    break
        report = self._report(mean, begin, first)
        validator = self._validator
        return TrainResult(
            self.step,
            time.monotonic() - begin,
            report["seconds_per_step"],
            report["retrieval_share"],
            mean,
            validator.best if validator is not None else {},
            validator.scores if validator is not None else {},
            self.finished,
        )

    def _journal(self) -> Journal:
        """The journal of the process that reports; a run that has ended has no more curves."""
        config = self.config
        tracker = None
        if config.wandb and not self.finished:
            from trainer.tracking import Tracker

            tracker = Tracker(config.wandb, self.folder, config.to_dict())
        return Journal(self.folder, self.step, tracker)

    def _loader(self) -> Iterable[dict[str, torch.Tensor]]:
        """Batches from the next step on; none after an early end."""
        accelerator = self._accelerator
        if self.finished:
            return ()
        return load_batches(
            self.config,
            self._prepared,
            self.step,
            accelerator.process_index,
            accelerator.num_processes,
            pin_memory=accelerator.device.type == "cuda",
        )

    def _agreed(self, *flags: bool) -> list[bool]:
        """What any process says of each: all have to agree, or the rest waits for ever."""
        accelerator = self._accelerator
        if accelerator.num_processes == 1:
            return list(flags)
        said = torch.tensor([float(flag) for flag in flags], device=accelerator.device)
        return [bool(count > 0) for count in accelerator.reduce(said, "sum")]

    def _report(self, loss: float, begin: float, first: int) -> dict[str, float]:
        """What the journal is told after some steps of this process."""
        seconds = time.monotonic() - begin
        validation = self._validator.seconds if self._validator is not None else 0.0
        return {
            "loss": loss,
            "lr": self._optimizer.param_groups[0]["lr"],
            "seconds_per_step": (seconds - validation) / max(self.step - first, 1),
            "retrieval_share": self._conditions.seconds / max(seconds, 1e-9),
        }

    def _shown(self) -> dict[str, float]:
        """What the progress bar says beside the loss."""
        scores = self._validator.scores if self._validator is not None else {}
        return {"sdri": round(scores["sdri"], 2)} if scores else {}

    def _save(self) -> None:
        """Write the state to go on from."""
        if not self._accelerator.is_main_process:
            return
        scaler = self._accelerator.scaler
        state = {
            "best": self._validator.best if self._validator is not None else {},
            "stale": self._validator.stale if self._validator is not None else 0,
            "finished": self.finished,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        save_checkpoint(
            self.folder.last,
            Checkpoint(
                self.step,
                self._model.state_dict(),
                optimizer_tensors(self._model, self._optimizer),
                random_states(),
                state,
                self._average.state() if self._average is not None else {},
            ),
        )


@contextmanager
def _quiet() -> Iterator[Advance]:
    """The progress of the processes that do not report."""

    def advance(n: int = 1, **facts: object) -> None: ...

    yield advance


def _hear(ears: Space | None, sample_rate: int) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What embeds the targets of a step, if they are embedded."""
    return None if ears is None else lambda crops: embed_crops(crops, ears, sample_rate)
