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

from cache_store.clips.decode import decode, probe
from cache_store.clips.table import ClipTable
from cache_store.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cache_store.spaces.base import Space

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
    pieces = _pieces(table, space.sample_rate)
    total: NDArray[np.float64] = np.zeros(space.dim)
    while group := list(islice(pieces, batch)):
        vectors = space.embed_audio([wave for _, wave, _ in group], space.sample_rate)
        for (row, wave, last), vector in zip(group, vectors, strict=True):
            total += len(wave) * vector.astype(np.float64)
            if last:
                yield row, (total / max(float(np.linalg.norm(total)), 1e-12)).astype(np.float32)
                total = np.zeros(space.dim)


def _pieces(table: ClipTable, sample_rate: int) -> Iterator[tuple[int, NDArray[np.float32], bool]]:
    """(row, samples [T], whether this is the row's last piece) of every clip in turn."""
    for row, path in enumerate(table.paths):
        full = int((probe(path).seconds - _SHORTEST_TAIL) // PIECE_SECONDS)
        for piece in range(max(full, 0) + 1):
            start = piece * PIECE_SECONDS
            wave = decode(path, sample_rate, start=start, seconds=PIECE_SECONDS)
            yield row, wave, piece >= full
