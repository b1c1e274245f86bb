"""A `.pt` or `.ckpt` file of somebody else, read as weights only: nothing in it is executed.

Training tools leave more than tensors in their checkpoints: NumPy numbers, classes of Lightning.
The strict loader of torch refuses a file for them, although nobody wants them here. Objects of such
names become stand-ins that take anything and keep nothing; any other name is refused.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cache_store.errors import DamagedError, DataError

# Of modules whose objects a training state may hold; with torch's own list of what is harmless.
TRAINING = (
    *("numpy.", "lightning.", "lightning_fabric.", "lightning_utilities.", "pytorch_lightning."),
    "torch.optim.lr_scheduler.",
)


def read_torch_file(path: Path, expected: str) -> Any:
    """What a file holds, with its tensors on the CPU.

    Args:
        path: The file.
        expected: What it should be, for messages.

    Raises:
        DataError: No such file.
        DamagedError: It holds more than tensors, plain values and a training state, or is cut.
    """
    import torch

    if not path.is_file():
        raise DataError("no such file", where=path, expected=expected)
    # Mapped, so that an optimizer's state, twice as large as the weights, is never read.
    mapped = zipfile.is_zipfile(path)
    try:
        with _training_state_ignored(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other pickle protocols: we say what matters
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise DamagedError(
            "refused: the file holds more than tensors, or is no checkpoint, and is never "
            "unpickled unsafely",
            where=path,
            expected=expected,
            found=_named(path),
        ) from error
    except Exception as error:
        # The reader pops stacks and follows offsets as the bytes say: anything can come of them.
        raise DamagedError(
            "the checkpoint cannot be read: it is cut, damaged or of another kind",
            where=path,
            expected=expected,
            found=type(error).__name__,
        ) from error


class _Ignored:
    """Stands for an object of the training state: takes anything, keeps nothing."""

    def __new__(cls, *_: object, **__: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


@contextmanager
def _training_state_ignored(path: Path) -> Iterator[None]:
    """Give the names of a training state to a class that does nothing: no code of theirs is run."""
    from torch import serialization

    allow = getattr(serialization, "safe_globals", None)
    if allow is None:  # torch 2.4: such a file is refused
        yield
        return
    names = {"numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
    names |= {name for name in _unsafe(path) if name.startswith(TRAINING)}
    stand_ins = []
    for module, _, name in (full.rpartition(".") for full in sorted(names)):
        stand_ins.append(type(name, (_Ignored,), {"__module__": module}))
    with allow(stand_ins):
        yield


def _unsafe(path: Path) -> list[str]:
    """Names in a file that the strict loader does not know; none where that cannot be told."""
    from torch import serialization

    try:
        return sorted(serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # noqa: BLE001 - whatever a damaged file leads to; the loader will tell
        return []


def _named(path: Path) -> str | None:
    """What a refused file names, for its message."""
    names = [name for name in _unsafe(path) if not name.startswith(TRAINING)]
    return f"an object of {names[0]}" if names else None
