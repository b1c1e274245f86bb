"""What a run tells while it goes: a line of JSON a report, and the same for TensorBoard and, if
asked for, Weights & Biases.

All are notes, not state: a run that is resumed drops what it had written beyond the step it goes
on from, so that no step is told twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cache_store.errors import storage_errors
from cache_store.files import replace_file
from trainer.run import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.tracking import Tracker


class Journal:
    """Appends to `history.jsonl` and `tensorboard/`; a context manager.

    Args:
        folder: The run.
        step: Steps that are done; what was told about later ones is dropped.
        tracker: Of Weights & Biases; closed with the journal.

    Raises:
        StorageError: The folder cannot be written.
    """

    def __init__(self, folder: RunFolder, step: int, tracker: Tracker | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._tracker = tracker
        kept = [line for line in read_history(folder) if line["step"] <= step]
        with storage_errors(folder.history):
            text = "".join(json.dumps(line) + "\n" for line in kept)
            replace_file(folder.history, text.encode())
            self._history = folder.history.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(folder.tensorboard), purge_step=step + 1)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._history.close()
        self._board.close()
        if self._tracker is not None:
            self._tracker.close(failed=kind is not None)

    def tell(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Report some numbers after a step.

        Args:
            step: Steps done.
            kind: What they are about ("train", "valid").
            values: Names and numbers.
        """
        line = {"step": step, "kind": kind, **values}
        self._history.write(json.dumps(line) + "\n")
        self._history.flush()
        named = {f"{kind}/{name}": value for name, value in values.items()}
        for name, value in named.items():
            self._board.add_scalar(name, value, step)
        if self._tracker is not None:
            self._tracker.tell(step, named)

    def play(self, step: int, sounds: Mapping[str, Tensor], sample_rate: int) -> None:
        """Put sounds, each `[T]`, where TensorBoard plays them; a peak above 1 is brought to 1."""
        for name, sound in sounds.items():
            peak = float(sound.abs().max().clamp_min(1.0))
            self._board.add_audio(name, sound[None] / peak, step, sample_rate)


class Silence:
    """The journal of the processes that do not report."""

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *_: object) -> None: ...

    def tell(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Nothing."""

    def play(self, step: int, sounds: Mapping[str, Tensor], sample_rate: int) -> None:
        """Nothing."""


def read_history(folder: RunFolder) -> list[dict[str, Any]]:
    """The lines of a run's history; a last line that a crash cut short is left out."""
    if not folder.history.exists():
        return []
    lines = []
    for text in folder.history.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
