"""The folder of one training run, and the record that makes it usable on its own.

    RUN/
      config.toml                  the settings, as `lqtse train --config` takes them
      run.json                     what was trained, in which space, from which cache, with what
      checkpoints/last.safetensors the state to go on from
      checkpoints/best.safetensors the weights that did best on held-out mixtures
      history.jsonl                one line a log or a validation
      tensorboard/                 the same as curves, and sounds to listen to
      wandb/                       the same for Weights & Biases, if asked for
      rejects.csv                  recordings that were left out, and why
      confidence.json              what `lqtse calibrate` found
      embeddings/                  audio embeddings that had to be computed

`run.json` holds the sizes of the network and not only its name, so that a run keeps working when
the defaults of a name change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import (
    DamagedError,
    DataError,
    UsageError,
    VersionMismatchError,
    storage_errors,
)
from cache_store.files import replace_file
from cache_store.manifest import SpaceRecord

if TYPE_CHECKING:
    from trainer.models import SeparatorModel

FORMAT = "1"
CHECKPOINTS = ("best", "last")


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says.

    Attributes:
        strategy: How conditions were made.
        model: Name of the separator, see `trainer.models`.
        sizes: All sizes of that separator.
        sample_rate: At which it hears and speaks, in Hz.
        seconds: Length of the mixtures it was trained on.
        space: The embedding space of its conditions.
        space_spec: What the user named to load that space, "" for none.
        cache: The cache: absolute `path`, manifest `number`, `data_hash`; a `path` of None for
            weights that were trained elsewhere.
        seed: Of the initial weights and of everything random.
        versions: Of lqtse, Python, torch and numpy.
        created: When, ISO 8601 in UTC.
        negative: How far conditions were steered away from interferers; 0 for not at all.
        init: The weights that it began with, `source` and `sha256`; empty for fresh ones.
    """

    strategy: str
    model: str
    sizes: Mapping[str, Any]
    sample_rate: int
    seconds: float
    space: SpaceRecord
    space_spec: str
    cache: Mapping[str, Any]
    seed: int
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    negative: float = 0.0
    init: Mapping[str, str] = field(default_factory=dict)
    format: str = FORMAT


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run lie."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings."""
        return self.path / "config.toml"

    @property
    def record(self) -> Path:
        """What was trained."""
        return self.path / "run.json"

    @property
    def last(self) -> Path:
        """The state to go on from."""
        return self.checkpoint("last")

    @property
    def best(self) -> Path:
        """The weights that did best on held-out mixtures."""
        return self.checkpoint("best")

    @property
    def history(self) -> Path:
        """One line a log or a validation."""
        return self.path / "history.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Curves and sounds."""
        return self.path / "tensorboard"

    @property
    def rejects(self) -> Path:
        """Recordings that were left out, and why."""
        return self.path / "rejects.csv"

    @property
    def calibration(self) -> Path:
        """What makes a probability of evidence."""
        return self.path / "confidence.json"

    def embeddings(self, part: str) -> Path:
        """Computed audio embeddings of the clips to "train" or to "valid" on."""
        return self.path / "embeddings" / f"{part}.safetensors"

    def checkpoint(self, which: str) -> Path:
        """The checkpoint called `best` or `last`.

        Raises:
            UsageError: Any other name.
        """
        if which not in CHECKPOINTS:
            raise UsageError("no such checkpoint", where=which, expected=" | ".join(CHECKPOINTS))
        return self.path / "checkpoints" / f"{which}.safetensors"


def write_record(folder: RunFolder, record: RunRecord) -> None:
    """Write `run.json`, whole or not at all.

    Raises:
        StorageError: The place cannot be written.
    """
    text = json.dumps(asdict(record), indent=1, sort_keys=True) + "\n"
    with storage_errors(folder.record):
        replace_file(folder.record, text.encode())


def read_record(folder: RunFolder) -> RunRecord:
    """Read `run.json`.

    Raises:
        DataError: There is no run in the folder.
        DamagedError: The record cannot be read.
        VersionMismatchError: Another version wrote it.
    """
    try:
        values = json.loads(folder.record.read_text(encoding="utf-8"))
        found = values["format"]
        if found == FORMAT:
            return RunRecord(**{**values, "space": SpaceRecord(**values["space"])})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            "no run here", where=folder.path, hint=f"Train one: lqtse train --out {folder.path} ..."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError("the record of a run is damaged", where=folder.record) from error
    raise VersionMismatchError(
        "a run of another version", where=folder.record, expected=FORMAT, found=found
    )


def build_from_record(record: RunRecord, space: str = "") -> SeparatorModel:
    """The separator of a run, with its initial weights.

    Args:
        record: The run.
        space: Where its audio tower is, if it has one and it is not where it was; see `run_tower`.
    """
    from trainer.models import build_model
    from trainer.towers import run_tower

    return build_model(
        record.model,
        record.sizes,
        condition_dim=record.space.dim,
        sample_rate=record.sample_rate,
        seed=record.seed,
        tower=run_tower(record, space),
    )


def load_model(
    folder: RunFolder, which: str = "best", *, space: str = ""
) -> tuple[SeparatorModel, RunRecord]:
    """The trained separator of a run, ready for inference on the CPU.

    Args:
        folder: The run.
        which: `best` or `last`; a run without validation has no best one, and then its last is
            taken.
        space: As `build_from_record` takes it.

    Raises:
        DataError: There is no run, no checkpoint yet, or a file is not ours; or the audio tower
            that it hears through is missing.
        MismatchError: The checkpoint is of another model than the record says, or the tower is
            another.
    """
    from trainer.checkpoint import load_checkpoint, load_weights

    record = read_record(folder)
    path = checkpoint_path(folder, which)
    checkpoint = load_checkpoint(path)
    model = build_from_record(record, space)
    load_weights(model, checkpoint.weights, path)
    return model.eval(), record


def checkpoint_path(folder: RunFolder, which: str) -> Path:
    """The file of the checkpoint called `best` or `last`; without a best one, the last.

    Raises:
        UsageError: Any other name.
    """
    path = folder.checkpoint(which)
    return folder.last if which == "best" and not path.exists() else path
