"""Weights to begin with, from a run or from a checkpoint of AudioSep, and a run made of them.

    RUN                the folder of a run: its best weights, else its last
    audiosep:FILE      a checkpoint of AudioSep: .ckpt, .pt, or its tensors as .safetensors

Foreign files are read as weights only. A checkpoint of AudioSep may carry more than its separator
(the CLAP of its queries, an optimizer): what was left is told.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import (
    DamagedError,
    DataError,
    MismatchError,
    SpaceMismatchError,
    UsageError,
)
from cache_store.files import hash_file
from trainer.run import RunFolder, RunRecord, load_model, write_record

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cache_store.manifest import SpaceRecord
    from trainer.models.audiosep import AudioSepWeights

AUDIOSEP = "audiosep:"
SEGMENT_SECONDS = 5.0  # that AudioSep was trained on


@dataclass(frozen=True)
class Initial:
    """Weights to begin with.

    Attributes:
        source: What they were read from, as the user named it, its path absolute.
        sha256: Of that file.
        model: Name of the separator, see `trainer.models`.
        sizes: All sizes of that separator, as a run records them.
        sample_rate: In Hz.
        condition_dim: D.
        weights: By the names of its `state_dict`.
        space: Of its conditions, None where the file does not say.
        left: What else the file holds, in words; empty for nothing.
    """

    source: str
    sha256: str
    model: str
    sizes: Mapping[str, Any]
    sample_rate: int
    condition_dim: int
    weights: Mapping[str, Tensor]
    space: SpaceRecord | None = None
    left: str = ""


def read_initial(spec: str) -> Initial:
    """Read weights to begin with.

    Args:
        spec: The folder of a run, or `audiosep:FILE`.

    Raises:
        DataError: There is no such run or file, or it is not what it should be.
        DamagedError: The file is damaged, or holds what would have to be unpickled.
        UsageError: A file, and not said of what.
    """
    if spec.startswith(AUDIOSEP):
        return _from_audiosep(Path(spec.removeprefix(AUDIOSEP)).expanduser())
    folder = RunFolder(Path(spec))
    if folder.path.is_file() or folder.path.suffix in (".ckpt", ".pt", ".safetensors"):
        raise UsageError(
            "a file of weights needs to be said what it is",
            where=spec,
            expected=f"the folder of a run, or {AUDIOSEP}{spec}",
        )
    model, record = load_model(folder)
    path = folder.best if folder.best.exists() else folder.last
    return Initial(
        source=str(folder.path.absolute()),
        sha256=hash_file(path),
        model=record.model,
        sizes=record.sizes,
        sample_rate=record.sample_rate,
        condition_dim=record.space.dim,
        weights=model.state_dict(),
        space=record.space,
    )


def read_audiosep(path: Path) -> AudioSepWeights:
    """Read the separator of an AudioSep checkpoint, weights only.

    Raises:
        DataError: No such file, or not AudioSep's separator.
        DamagedError: The file is cut, or holds what would have to be unpickled.
    """
    from trainer.models.audiosep import NOT_OURS, translate

    if path.suffix == ".safetensors":
        return translate(_read_safetensors(path), path)
    import torch

    from cache_store.torch_file import read_torch_file

    content = read_torch_file(path, NOT_OURS)
    if not isinstance(content, dict):
        raise DataError("not a checkpoint", where=path, expected=NOT_OURS)
    state = content.get("state_dict", content)
    tensors = {str(name): t for name, t in state.items() if isinstance(t, torch.Tensor)}
    weights = translate(tensors, path)
    # What lies beside the weights in the file of a training: the optimizer's state, say.
    beside = {} if state is content else dict.fromkeys((k for k in content if k != "state_dict"), 0)
    return _with_left(weights, beside)


def take_over(initial: Initial, model: nn.Module, record: RunRecord) -> None:
    """Put the weights into a separator that is to be trained on.

    Args:
        initial: The weights.
        model: The separator, with fresh weights.
        record: Of the run that begins.

    Raises:
        UsageError: The run's settings make another separator.
        SpaceMismatchError: The weights' conditions are of another space than the run's.
    """
    have = {"model": record.model, "sample-rate": record.sample_rate}
    need = {"model": initial.model, "sample-rate": initial.sample_rate}
    if have != need or dict(record.sizes) != dict(initial.sizes):
        sizes = " ".join(f"{key}={_text(value)}" for key, value in initial.sizes.items())
        flags = [f"--{key} {value}" for key, value in need.items() if have[key] != value]
        if dict(record.sizes) != dict(initial.sizes) and have["model"] == need["model"]:
            flags.append(f'--sizes "{sizes}"')
        raise UsageError(
            "the weights to begin with are of another separator than this run's",
            where=initial.source,
            expected=f"{initial.model} at {initial.sample_rate:,} Hz with {sizes}",
            found=f"{record.model} at {record.sample_rate:,} Hz",
            hint="Train with " + " ".join(flags),
        )
    if initial.space is not None and initial.space.fingerprint != record.space.fingerprint:
        raise SpaceMismatchError(
            "the weights to begin with take conditions of another space than the cache's",
            where=initial.source,
            expected=f"{initial.space.name} [{initial.space.fingerprint}]",
            found=f"{record.space.name} [{record.space.fingerprint}]",
        )
    if initial.condition_dim != record.space.dim:
        raise MismatchError(
            "the weights to begin with take conditions of another size than the cache's",
            where=initial.source,
            expected=f"{initial.condition_dim} values",
            found=f"{record.space.dim} of {record.space.name}",
        )
    model.load_state_dict(dict(initial.weights))


def make_run(folder: RunFolder, spec: str, space: str, *, device: str = "auto") -> Initial:
    """Make a run of weights that were trained elsewhere: it separates, and is evaluated, like any.

    Args:
        folder: The new run.
        spec: As `read_initial` takes it.
        space: The CLAP of its conditions, as `--space` takes it.
        device: For the CLAP, which is loaded for its fingerprint.

    Raises:
        UsageError: There is something in the folder already, or the space cannot be loaded.
        DataError: The weights or the space are not what they should be.
        MismatchError: The space has other conditions than the weights take.
    """
    from cache_store.spaces import load_space
    from trainer.checkpoint import Checkpoint, save_checkpoint
    from trainer.places import make_folder
    from trainer.prepare import lasting

    if folder.record.exists() or folder.last.exists():
        raise UsageError("the folder holds a run", where=folder.path, hint="Choose another folder")
    initial = read_initial(spec)
    record = load_space(space, device=device).record
    if record.dim != initial.condition_dim or (initial.space or record) != record:
        raise SpaceMismatchError(
            "the weights take conditions of another space",
            where=initial.source,
            expected=initial.space.name if initial.space else f"{initial.condition_dim} values",
            found=f"{record.name}, {record.dim} values",
        )
    make_folder(folder.last.parent)
    save_checkpoint(folder.last, Checkpoint(0, initial.weights, state={"finished": True}))
    # The record last: a folder without one is no run.
    write_record(
        folder,
        RunRecord(
            strategy="",
            model=initial.model,
            sizes=initial.sizes,
            sample_rate=initial.sample_rate,
            seconds=SEGMENT_SECONDS,
            space=record,
            space_spec=lasting(space),
            cache={"path": None, "number": 0, "data_hash": ""},
            seed=0,
            versions=versions(),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            init=initial_record(initial),
        ),
    )
    return initial


def initial_record(initial: Initial) -> dict[str, str]:
    """What a run's record says of the weights that it began with."""
    return {"source": initial.source, "sha256": initial.sha256}


def versions() -> dict[str, str]:
    """Of lqtse, Python, torch and numpy."""
    import numpy as np
    import torch

    return {
        "lqtse": version("lqtse"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _from_audiosep(path: Path) -> Initial:
    from trainer.models import size_record
    from trainer.models.audiosep import SAMPLE_RATE

    found = read_audiosep(path)
    parts = [f"{count} tensors of {name}" if count else name for name, count in found.left.items()]
    return Initial(
        source=f"{AUDIOSEP}{path.absolute()}",
        sha256=hash_file(path),
        model="resunet",
        sizes=size_record(found.size),
        sample_rate=SAMPLE_RATE,
        condition_dim=found.condition_dim,
        weights=found.weights,
        left=", ".join(parts),
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    except FileNotFoundError as error:
        raise DataError("no such file", where=path) from error
    except (SafetensorError, OSError) as error:
        raise DamagedError("not a whole safetensors file", where=path, found=str(error)) from error


def _with_left(weights: AudioSepWeights, more: Mapping[str, int]) -> AudioSepWeights:
    from dataclasses import replace

    return replace(weights, left={**weights.left, **more})


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
