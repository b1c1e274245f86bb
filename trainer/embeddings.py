"""The embedding of every clip: stored with the clips, or computed once and remembered.

Computed embeddings are kept in one safetensors file, under a key that tells one recording's content
from another's (name, size, time of change) and for one fingerprint of the model: a resumed run
computes only what is new. The file is replaced whole now and then, so a killed run loses minutes.

Letters: n clips, S distinct recordings, D embedding size.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache_store.clips import ClipTable, embed_clips
from cache_store.console import progress, warn
from cache_store.errors import AudioError, SpaceMismatchError, UsageError, storage_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from cache_store.manifest import SpaceRecord
    from cache_store.spaces.base import Space

_SAVE_SECONDS = 60.0
_KEY_BYTES = 16


def clip_embeddings(
    clips: ClipTable,
    *,
    expected: SpaceRecord | None = None,
    space: Space | None = None,
    store: str | Path | None = None,
    batch: int = 16,
) -> NDArray[np.float32]:
    """The audio embedding of every clip.

    Args:
        clips: The clips. Stored embeddings are used if there are any.
        expected: The space that they have to be of (the cache's).
        space: The model that computes them where none are stored.
        store: Where computed embeddings are remembered; None does not remember.
        batch: Recordings embedded at a time.

    Returns:
        float32 [n, D], unit norm.

    Raises:
        SpaceMismatchError: If the stored embeddings, or the model, are of another space.
        UsageError: If there are neither stored embeddings nor a model.
        AudioError: If a recording cannot be decoded.
        StorageError: If `store` cannot be written.
    """
    found = clips.space if clips.embeddings is not None else space.record if space else None
    if found is None:
        raise UsageError(
            "the clips have no stored embeddings, and no model was given to make them",
            where=clips.source or None,
            hint="Name one with --space, or give a manifest with an `embedding` column",
        )
    if expected is not None and found.fingerprint != expected.fingerprint:
        raise SpaceMismatchError(
            "the clips' embeddings and the cache's are of different models",
            where=clips.source or None,
            expected=f"{expected.name} ({expected.fingerprint})",
            found=f"{found.name} ({found.fingerprint})",
            hint="Use one model for both; stored embeddings take their name from --space-name",
        )
    if clips.embeddings is not None:
        return clips.embeddings
    assert space is not None
    return _computed(clips, space, Path(store) if store else None, batch)


def embed_crops(crops: Tensor, space: Space, sample_rate: int) -> Tensor:
    """The embeddings of sounds as they are mixed, computed now.

    Args:
        crops: float32, on any device.
        space: The model.
        sample_rate: Of the crops, in Hz.

    Shape:
        crops: [B, T]. Output: float32 [B, D], unit norm, on the CPU.

    Raises:
        AudioError: If samples are not finite.
    """
    import torch

    return torch.from_numpy(space.embed_audio(list(crops.cpu().numpy()), sample_rate))


def _computed(
    clips: ClipTable, space: Space, store: Path | None, batch: int
) -> NDArray[np.float32]:
    first_row = {name: row for row, name in reversed(list(enumerate(clips.names)))}
    slots = {name: slot for slot, name in enumerate(first_row)}
    distinct = clips.select([first_row[name] for name in slots])
    keys = [_key(name, path) for name, path in zip(distinct.names, distinct.paths, strict=True)]
    known = _read(store, space) if store is not None else {}
    matrix = np.zeros((len(distinct), space.dim), np.float32)
    missing = [slot for slot, key in enumerate(keys) if key not in known]
    for slot, key in enumerate(keys):
        if key in known:
            matrix[slot] = known[key]
    if missing:
        done = set(range(len(keys))) - set(missing)
        saved = time.monotonic()
        with progress("embed audio", len(missing), "clips") as advance:
            for row, vector in embed_clips(distinct.select(missing), space, batch=batch):
                matrix[missing[row]] = vector
                done.add(missing[row])
                advance()
                if store is not None and time.monotonic() - saved > _SAVE_SECONDS:
                    _write(store, space, keys, matrix, sorted(done))
                    saved = time.monotonic()
        if store is not None:
            _write(store, space, keys, matrix, range(len(keys)))
    return matrix[[slots[name] for name in clips.names]]


def _key(name: str, path: Path) -> bytes:
    """What tells this recording from others, and from another content of the same file."""
    try:
        status = path.stat()
    except OSError as error:
        raise AudioError("no such file", where=path) from error
    text = f"{name}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.sha256(text.encode()).digest()[:_KEY_BYTES]


def _read(store: Path, space: Space) -> dict[bytes, NDArray[np.float32]]:
    """Remembered embeddings by key; none if there is no file, or it is of another model."""
    from safetensors import SafetensorError, safe_open

    if not store.exists():
        return {}
    try:
        with safe_open(store, framework="numpy") as file:
            if (file.metadata() or {}).get("lqtse.fingerprint") != space.fingerprint:
                return {}
            keys, vectors = file.get_tensor("keys"), file.get_tensor("embeddings")
    except (SafetensorError, OSError, ValueError) as error:
        warn(f"remembered embeddings cannot be read and are made again: {store} ({error})")
        return {}
    return {key.tobytes(): vector for key, vector in zip(keys, vectors, strict=True)}


def _write(
    store: Path,
    space: Space,
    keys: list[bytes],
    matrix: NDArray[np.float32],
    slots: range | list[int],
) -> None:
    """Replace the file with the embeddings at `slots`, whole or not at all."""
    from safetensors.numpy import save

    chosen = list(slots)
    packed = np.frombuffer(b"".join(keys[slot] for slot in chosen), np.uint8)
    content = save(
        {"keys": packed.reshape(-1, _KEY_BYTES), "embeddings": matrix[chosen]},
        {"lqtse.space": space.name, "lqtse.fingerprint": space.fingerprint},
    )
    with storage_errors(store):
        store.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=store.parent, prefix=".tmp-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(store)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
