"""What happens every so many steps of a run: score, report, play, keep the best weights.

The best is the highest mean SDRi with text queries on the held-out mixtures.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from trainer.checkpoint import Checkpoint, save_checkpoint
from trainer.config import TrainConfig
from trainer.run import RunFolder
from trainer.validate import HeldOut, separate_all, validate

if TYPE_CHECKING:
    from torch import nn

    from trainer.journal import Journal, Silence


class Validator:
    """Validation of one run.

    Args:
        config: Of the run.
        folder: Of the run, for the best weights.
        held_out: The mixtures.

    Attributes:
        best: `sdri` in dB and `step` of the best so far; empty before the first.
        scores: Of the last one; empty before the first.
        stale: Validations since the best.
        seconds: Spent here so far.
    """

    def __init__(self, config: TrainConfig, folder: RunFolder, held_out: HeldOut) -> None:
        self.best: dict[str, Any] = {}
        self.scores: dict[str, float] = {}
        self.stale = 0
        self.seconds = 0.0
        self._config = config
        self._folder = folder
        self._held_out = held_out

    def __call__(self, step: int, model: nn.Module, journal: Journal | Silence) -> None:
        """Validate after a step.

        Raises:
            StorageError: The best weights cannot be written.
        """
        begin = time.monotonic()
        self.scores = validate(model, self._held_out, self._config.batch_size)
        journal.tell(step, "valid", self.scores)
        if self._config.valid_sounds:
            self._play(step, model, journal)
        self.stale += 1
        if self.scores["sdri"] > self.best.get("sdri", -math.inf):
            self.best, self.stale = {"sdri": self.scores["sdri"], "step": step}, 0
            save_checkpoint(
                self._folder.best, Checkpoint(step, model.state_dict(), state=self.best)
            )
        self.seconds += time.monotonic() - begin

    @property
    def given_up(self) -> bool:
        """Whether as many validations brought nothing better as the configuration allows."""
        return 0 < self._config.early_stop <= self.stale

    def _play(self, step: int, model: nn.Module, journal: Journal | Silence) -> None:
        """Let TensorBoard play the first mixtures, and what is made of them."""
        held_out, n, rate = self._held_out, self._config.valid_sounds, self._config.sample_rate
        mixtures = held_out.mixtures[:n]
        estimates = separate_all(model, mixtures, held_out.texts[:n], self._config.batch_size)
        for i, estimate in enumerate(estimates):
            if step <= self._config.valid_every:
                sounds = {"mixture": mixtures[i], "target": held_out.targets[i]}
                named = {f"sound{i}/{name}": sound for name, sound in sounds.items()}
                journal.play(step, named, rate)
            journal.play(step, {f"sound{i}/estimate": estimate}, rate)
