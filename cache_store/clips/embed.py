"""Clips to embeddings, in batches whose memory is bounded whatever the lengths.

A recording of up to `PIECE_SECONDS` has the embedding that its space gives it. A longer one is
embedded piece by piece, and its embedding is the mean of its pieces' weighted by their lengths, at
unit norm: an hour is then never in memory at once.

Letters: n clips, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from cache_store.clips.decode import AudioInfo, decode, probe
from cache_store.clips.table import ClipTable
from cache_store.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cache_store.spaces.base import Space

    Piece = tuple[int, NDArray[np.float32], bool]

PIECE_SECONDS = 60.0
_SHORTEST_TAIL = 1.0  # seconds: a shorter last piece is left out, unless it is the only one


def embed_clips(
    table: ClipTable, space: Space, *, batch: int = 16
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Embed the clips of a table, in order, a few at a time.

    Args:
        table: The clips; check them first with `usable`.
        space: The model.
        batch: Pieces of at most `PIECE_SECONDS` that are decoded at a time.

    Yields:
        (row, embedding): the row number, and a float32 unit vector [D].

    Raises:
        AudioError: If a clip cannot be decoded.
        UsageError: If the space has no audio tower.
    """
    if space.sample_rate <= 0:
        raise UsageError(
            f"the space {space.name} cannot embed audio: it has no audio tower",
            where=table.source or None,
            hint="Give a manifest with an `embedding` column, or a space with an audio tower",
        )
    yield from embed_pieces(_pieces(table, space.sample_rate), space, batch)


def embed_pieces(
    pieces: Iterator[Piece], space: Space, batch: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Embed the pieces of clips, `batch` at a time.

    Args:
        pieces: (row, samples [T], whether this is the row's last), rows in order. A row without a
            last piece has no embedding.
        space: The model.
        batch: Pieces at a time.

    Yields:
        As `embed_clips`.
    """
    total, current = np.zeros(space.dim), -1
    while group := list(islice(pieces, batch)):
        vectors = space.embed_audio([wave for _, wave, _ in group], space.sample_rate)
        for (row, wave, last), vector in zip(group, vectors, strict=True):
            if row != current:
                total, current = np.zeros(space.dim), row
            total += len(wave) * vector.astype(np.float64)
            if last:
                yield row, (total / max(float(np.linalg.norm(total)), 1e-12)).astype(np.float32)


def piece_count(info: AudioInfo) -> int:
    """How many pieces a recording is embedded in."""
    return max(int((info.seconds - _SHORTEST_TAIL) // PIECE_SECONDS), 0) + 1


def _pieces(table: ClipTable, sample_rate: int) -> Iterator[Piece]:
    for row, path in enumerate(table.paths):
        count = piece_count(probe(path))
        for piece in range(count):
            start = piece * PIECE_SECONDS
            wave = decode(path, sample_rate, start=start, seconds=PIECE_SECONDS)
            yield row, wave, piece == count - 1
