"""Embedding spaces: CLAP models behind one small interface.

    tiny                  a small model of our own, inside this package
    laion:CHECKPOINT      a laion-clap `.pt` file; `?tokenizer=FOLDER` names its tokenizer
    hf:ID_OR_FOLDER       transformers' ClapModel, from a folder or the Hugging Face hub
    stored:FILE.parquet   a table of known captions and their embeddings

Only `hf:` with a hub id, or a tokenizer named with `hf:`, ever reaches for a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from cache_store.spaces.base import Embedded, Space, pick_device, stream_text, unit
from cache_store.spaces.precision import only_float32, pick_precision

if TYPE_CHECKING:
    from cache_store.spaces.tower import AudioTower

__all__ = [
    "SPACE_SPECS",
    "Embedded",
    "Space",
    "audio_tower",
    "load_space",
    "pick_device",
    "pick_precision",
    "stream_text",
    "unit",
]

SPACE_SPECS = "tiny | laion:CHECKPOINT | hf:ID_OR_FOLDER | stored:FILE.parquet"


def load_space(
    spec: str,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    space_name: str | None = None,
    precision: str = "float32",
) -> Space:
    """Load an embedding space.

    Args:
        spec: `tiny`, `laion:CHECKPOINT`, `hf:ID_OR_FOLDER` or `stored:FILE.parquet`.
        device: `auto` (a CUDA GPU where there is one), `cpu`, `cuda`, `cuda:N`.
        batch_size: Texts in a batch; by default what suits the device.
        space_name: Where the embeddings of a `stored` table came from, if the file does not say.
        precision: In which the text tower computes: `float32`, `bfloat16`, or `auto` for what
            suits the device. Audio is always embedded in float32.

    Raises:
        UsageError: Not a spec, an unknown device, a stored table whose space is not named, or a
            precision that the space does not have.
        DataError: The file or folder is missing, or is not such a model.
        RemoteError: A hub id was named and the hub did not deliver it.
    """
    kind, _, rest = spec.strip().partition(":")
    if spec.strip() == "tiny":
        from cache_store.spaces.tiny.space import load_tiny

        only_float32(precision, "tiny")
        return load_tiny(pick_device(device))
    if kind == "stored" and rest:
        from cache_store.spaces.stored import load_stored

        only_float32(precision, "a stored space")
        return load_stored(rest, space_name=space_name)
    if kind == "hf" and rest:
        from cache_store.spaces.hf import load_hf

        place = pick_device(device)
        return load_hf(rest, device=place, batch_size=batch_size, precision=precision)
    if kind == "laion" and rest:
        from cache_store.spaces.laion import load_laion

        place = pick_device(device)
        return load_laion(rest, device=place, batch_size=batch_size, precision=precision)
    raise UsageError("not an embedding space", where=spec, expected=SPACE_SPECS)


def audio_tower(space: Space) -> AudioTower:
    """The audio tower of a space by its stages, frozen, and a copy: on the device of the space.

    Raises:
        UsageError: The space has none: its embeddings are only looked up.
    """
    from cache_store.spaces.tower import Hearing

    if not isinstance(space, Hearing):
        raise UsageError(
            "this embedding space has no audio tower",
            where=space.name,
            expected="tiny | laion:CHECKPOINT | hf:ID_OR_FOLDER",
        )
    return space.audio_tower()
