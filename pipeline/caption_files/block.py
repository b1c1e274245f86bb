"""Some rows of a captions file, as its reader hands them on.

Letters: N rows, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a captions file.

    Attributes:
        first: The number of the first row in the file, counted from 1.
        columns: Every plain column by name, each a list of N values as the file has them.
        embeddings: [N, D] float32 as the file has them, or None where they were not asked for.
    """

    first: int
    columns: Mapping[str, list[Any]]
    embeddings: np.ndarray[Any, np.dtype[np.float32]] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def blocks_of(names: Sequence[str], rows: Iterator[Sequence[object]]) -> Iterator[Block]:
    """Gather rows into blocks; a row has one value a name."""
    first = 1
    held: list[Sequence[object]] = []
    for row in rows:
        held.append(row)
        if len(held) == BLOCK_ROWS:
            yield _block(first, names, held)
            first += len(held)
            held = []
    if held:
        yield _block(first, names, held)


def _block(first: int, names: Sequence[str], rows: Sequence[Sequence[object]]) -> Block:
    return Block(first, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def no_column(
    path: Path, column: str, names: Sequence[str], place: str | None = None
) -> UsageError:
    """The error for a column that is not there, naming those that are."""
    return UsageError(
        f"no column {column!r}",
        where=f"{path}, {place}" if place else path,
        expected=f"one of {', '.join(names)}" if names else "a column",
        hint="Name the captions' column with --column" if column != "embedding" else None,
    )
