"""The audio embeddings of a join's clips, in blocks: stored ones, or those of its parts.

A recording that a manifest names several times is heard once. Memory holds one block of embeddings,
and of all clips what their rows say.

Letters: n clips, u recordings, b clips of a block, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache_store.errors import EmptyInputError
from pipeline.join_parts import Part, read_part
from pipeline.join_stage import SHARD_CLIPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cache_store.clips import ClipReject, ClipTable


@dataclass(frozen=True)
class StoredVectors:
    """Embeddings that came with the clips.

    Attributes:
        matrix: float32 [n, D].
    """

    matrix: NDArray[np.float32]

    def block(self, begin: int, end: int) -> NDArray[np.float32]:
        """Those of the clips from `begin` to `end`: [b, D]."""
        return self.matrix[begin:end]


@dataclass(frozen=True)
class HeardVectors:
    """Embeddings in parts.

    Attributes:
        parts: In the order of the shards.
        part: Each clip's part, int64 [n].
        row: Its row there, int64 [n].
    """

    parts: Sequence[Part]
    part: NDArray[np.int64]
    row: NDArray[np.int64]

    def block(self, begin: int, end: int) -> NDArray[np.float32]:
        """Those of the clips from `begin` to `end`: [b, D]; each part is read once."""
        part, row = self.part[begin:end], self.row[begin:end]
        block: NDArray[np.float32] | None = None
        for number in np.unique(part):
            vectors = self.parts[number].embeddings()
            if block is None:
                block = np.empty((end - begin, vectors.shape[1]), np.float32)
            mine = part == number
            block[mine] = vectors[row[mine]]
        assert block is not None
        return block


def distinct(table: ClipTable) -> tuple[ClipTable, NDArray[np.int64]]:
    """The recordings of a table, each once, and which one each clip is: int64 [n]."""
    first: dict[str, int] = {}
    rows: list[int] = []
    number = np.empty(len(table), np.int64)
    for row, name in enumerate(table.names):
        number[row] = first.setdefault(name, len(first))
        if number[row] == len(rows):
            rows.append(row)
    return (table if len(rows) == len(table) else table.select(rows)), number


def gather(
    table: ClipTable, recordings: ClipTable, number: NDArray[np.int64], paths: Sequence[Path]
) -> tuple[ClipTable, HeardVectors, list[ClipReject]]:
    """The usable clips with a column `seconds`, their embeddings, and the other recordings.

    Args:
        table: The clips.
        recordings: Each recording of theirs once.
        number: Which recording each clip is, int64 [n].
        paths: The parts, in the order of the shards.

    Raises:
        EmptyInputError: If no clip is usable; names the first and its reason.
    """
    from cache_store.clips import ClipReject

    parts = [read_part(path) for path in paths]
    where = np.full(len(recordings), -1, np.int64)  # a recording's row in its part
    seconds = np.zeros(len(recordings))
    rejects: list[ClipReject] = []
    for index, part in enumerate(parts):
        begin = index * SHARD_CLIPS
        where[begin + part.rows] = np.arange(len(part.rows))
        seconds[begin + part.rows] = part.seconds
        rejects += [ClipReject(recordings.names[begin + row], why) for row, why in part.rejects]
    usable = where[number] >= 0
    if not usable.any():
        raise EmptyInputError(
            f"none of {len(recordings)} clips can be used",
            where=table.source or None,
            found=f"{rejects[0].name} {rejects[0].reason}",
        )
    number = number[usable]
    clips = table.select(usable).with_column("seconds", tuple(seconds[number].tolist()))
    return clips, HeardVectors(parts, number // SHARD_CLIPS, where[number]), rejects
