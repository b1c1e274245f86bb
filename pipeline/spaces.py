"""Which embedding space a command works in: the one that the user names, or the cache's own.

A cache remembers its space by name and fingerprint. The fingerprint decides: whatever is loaded
has to agree with it, so a renamed folder of the same weights passes and other weights under the
same name do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import SpaceMismatchError, UsageError

if TYPE_CHECKING:
    from cache_store.manifest import SpaceRecord
    from cache_store.spaces import Space

DEFAULT_SPACE = "tiny"
_LOADABLE = ("hf:", "laion:", "stored:")


def loadable(record: SpaceRecord) -> bool:
    """Whether a recorded space's name is also a way to load it."""
    return record.name == "tiny" or record.name.startswith(_LOADABLE)


def choose_spec(spec: str | None, record: SpaceRecord | None) -> str:
    """The spec to load: the user's, else the cache's recorded space, else `tiny`.

    Raises:
        UsageError: No spec was given and the recorded space is only a name.
    """
    if spec is not None:
        return spec
    if record is None:
        return DEFAULT_SPACE
    if not loadable(record):
        raise UsageError(
            f"the cache's space {record.name!r} is a name, not a model that can be loaded",
            hint="Name a model of the same fingerprint with --space, "
            "or a table of stored embeddings: --space stored:FILE.parquet",
        )
    return record.name


def absolute_spec(spec: str) -> str:
    """The same space, named so that a worker that was started in another folder finds it.

    A hub id, `tiny` and what is absolute already stay as they are.
    """
    kind, _, rest = spec.strip().partition(":")
    if not rest or (kind == "hf" and not Path(rest).expanduser().exists()):
        return spec
    path, mark, tokenizer = rest.partition("?tokenizer=")
    if mark and not tokenizer.startswith("hf:"):
        tokenizer = _absolute(tokenizer)
    return f"{kind}:{_absolute(path)}{mark}{tokenizer}"


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def load_matching(
    spec: str | None,
    record: SpaceRecord | None,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    space_name: str | None = None,
    precision: str = "float32",
) -> Space:
    """Load a space and make sure that it is the recorded one.

    Args:
        spec: `tiny`, `laion:CHECKPOINT`, `hf:ID_OR_FOLDER`, `stored:FILE.parquet`, or None for the
            recorded space.
        record: What the cache was embedded with, None while nothing is.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        batch_size: Texts in a batch, None for what suits the device.
        space_name: Where a stored table's embeddings came from, if its file does not say.
        precision: In which the text tower computes: `auto`, `float32` or `bfloat16`.

    Raises:
        UsageError: The space cannot be loaded.
        SpaceMismatchError: It is another one than the cache's.
    """
    from cache_store.spaces import load_space

    space = load_space(
        choose_spec(spec, record),
        device=device,
        batch_size=batch_size,
        space_name=space_name,
        precision=precision,
    )
    if record is not None:
        check_same(space.record, record)
    return space


def check_same(found: SpaceRecord, expected: SpaceRecord) -> None:
    """Refuse embeddings of another space than the cache's.

    Raises:
        SpaceMismatchError: Naming both.
    """
    if found.fingerprint != expected.fingerprint:
        raise SpaceMismatchError(
            "the cache holds embeddings of another space",
            expected=f"{expected.name} [{expected.fingerprint}]",
            found=f"{found.name} [{found.fingerprint}]",
            hint="Use the cache's own space, or another cache for this one",
        )
