"""Checkpoints: everything a run needs to go on as if it had never stopped.

One safetensors file holds the weights, the optimizer's state, the random state and, in its header,
the step and the best score so far. One file, so that a checkpoint is replaced in one step of the
disk: after a crash the old one is there, or the new one, never half of each. safetensors has no
checksum, so the header carries a hash of all tensors. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cache_store.errors import DamagedError, DataError, MismatchError, storage_errors
from cache_store.files import replace_file

FORMAT = "1"
_FORMAT_KEY, _HASH_KEY, _STATE_KEY = "lqtse.checkpoint", "lqtse.sha256", "lqtse.state"
_MODEL, _AVERAGE, _OPTIMIZER, _RANDOM = "model.", "average.", "optimizer.", "random."


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a step.

    Attributes:
        step: Steps done.
        model: Weights and buffers by name.
        optimizer: The optimizer's tensors, `<parameter>.<key>`; empty in a best checkpoint.
        random: Random states by device; empty in a best checkpoint.
        state: Plain values: the best score and its step, say, and whether the run is `finished`.
        average: The running average of the weights; empty without one.
    """

    step: int
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    random: Mapping[str, Tensor] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    average: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """What separates: the average where one is kept, else the model."""
        return self.average or self.model


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the one at `path`, in one step.

    Raises:
        StorageError: The disk is full or the place cannot be written; the old one is still there.
    """
    from safetensors.torch import save

    tensors = {
        prefix + name: tensor.detach().cpu().contiguous()
        for prefix, group in (
            (_MODEL, checkpoint.model),
            (_AVERAGE, checkpoint.average),
            (_OPTIMIZER, checkpoint.optimizer),
            (_RANDOM, checkpoint.random),
        )
        for name, tensor in group.items()
    }
    header = {
        _FORMAT_KEY: FORMAT,
        _HASH_KEY: _hash(tensors),
        _STATE_KEY: json.dumps({"step": checkpoint.step, **checkpoint.state}, sort_keys=True),
    }
    with storage_errors(path):
        replace_file(path, save(tensors, metadata=header))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        DataError: There is none, or the file is not a checkpoint of ours.
        DamagedError: It is ours, and a bit of it is not as it was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise DataError(
            "no such checkpoint", where=path, hint="Train first: lqtse train --help"
        ) from error
    except (SafetensorError, OSError) as error:
        raise DataError(
            "not a checkpoint of lqtse, and never unpickled",
            where=path,
            expected="a whole safetensors file",
            found=str(error),
        ) from error
    if header.get(_FORMAT_KEY) != FORMAT:
        raise DataError(
            "not a checkpoint of lqtse",
            where=path,
            expected=f"{_FORMAT_KEY} {FORMAT} in its header",
            found=header.get(_FORMAT_KEY, "none"),
        )
    if header.get(_HASH_KEY) != _hash(tensors):
        raise DamagedError(
            "a checkpoint does not match its hash",
            where=path,
            hint="Restore it from a copy, or train again into another folder",
        )
    state = json.loads(header[_STATE_KEY])
    return Checkpoint(
        step=state.pop("step"),
        model=_group(tensors, _MODEL),
        optimizer=_group(tensors, _OPTIMIZER),
        random=_group(tensors, _RANDOM),
        state=state,
        average=_group(tensors, _AVERAGE),
    )


def checkpoint_hash(path: Path) -> str:
    """The hash that a checkpoint's header gives, without reading its tensors.

    Raises:
        DataError: There is none, or the file is not a checkpoint of ours.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {})[_HASH_KEY]
    except (SafetensorError, OSError, KeyError) as error:
        raise DataError("not a checkpoint of lqtse", where=path, found=error) from error


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put a checkpoint's weights, or its average of them, into a model.

    Raises:
        MismatchError: The model has other layers than the checkpoint.
    """
    own = model.state_dict()
    wrong = sorted(own.keys() ^ weights.keys()) or [
        name for name, tensor in own.items() if tensor.shape != weights[name].shape
    ]
    if wrong:
        raise MismatchError(
            "the checkpoint is of another model than the run says",
            where=path,
            found=f"{len(wrong)} tensors that do not fit, the first: {wrong[0]}",
        )
    model.load_state_dict(dict(weights))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by parameter name, `<parameter>.<key>`.

    The optimizer must have been given `model.parameters()` in one group.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{name}.{key}": value
        for index, (name, _) in enumerate(model.named_parameters())
        for key, value in state.get(index, {}).items()
    }


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Put what `optimizer_tensors` gave back into an optimizer of the same model."""
    indexes = {name: index for index, (name, _) in enumerate(model.named_parameters())}
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition(".")
        state.setdefault(indexes[name], {})[key] = tensor.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_states() -> dict[str, Tensor]:
    """torch's random states, by device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random(states: Mapping[str, Tensor]) -> None:
    """Put back what `random_states` gave, for the devices that are here."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    for index in range(torch.cuda.device_count()):
        if f"cuda{index}" in states:
            torch.cuda.set_rng_state(states[f"cuda{index}"], index)


def _group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }


def _hash(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, through a view: numpy has no bfloat16.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
