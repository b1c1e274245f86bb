"""Check and embed recordings in one go: each is decoded once, by threads beside the model.

What `usable` would refuse is refused here for the same reasons, at the rate that the model hears
at. The result depends on the recordings, the model and the batch, never on the threads: batches are
cut from the usable recordings in their order. Memory holds a few batches of pieces.

Letters: n recordings, m usable ones, D embedding size, T samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache_store.clips.check import judge, peak_of
from cache_store.clips.decode import AudioInfo, decode, probe, resampled_length
from cache_store.clips.embed import PIECE_SECONDS, embed_pieces, piece_count
from cache_store.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cache_store.clips.embed import Piece
    from cache_store.spaces.base import Space

    Decoded = tuple[NDArray[np.float32], float]


@dataclass(frozen=True)
class Heard:
    """What was heard of some recordings.

    Attributes:
        rows: The usable ones, int64 [m], in order.
        seconds: Their lengths, float64 [m].
        embeddings: float32 [m, D], unit norm.
        rejects: Row and reason of each of the others, in order.
    """

    rows: NDArray[np.int64]
    seconds: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    rejects: list[tuple[int, str]]


def hear(
    paths: Sequence[str | Path],
    space: Space,
    *,
    batch: int = 16,
    decoders: int = 1,
    tick: Callable[[int], None] = lambda clips: None,
) -> Heard:
    """Check and embed recordings.

    Args:
        paths: The recordings.
        space: A model with an audio tower.
        batch: Pieces of at most a minute that are embedded at a time.
        decoders: Threads that decode.
        tick: Told of recordings as they are finished.
    """
    listener = _Listener(paths, space.sample_rate, 2 * batch, tick)
    rows: list[int] = []
    vectors = np.empty((len(paths), space.dim), np.float32)
    with ThreadPoolExecutor(decoders) as pool:
        for row, vector in embed_pieces(listener.pieces(pool), space, batch):
            vectors[len(rows)] = vector
            rows.append(row)
            tick(1)
    return Heard(
        np.array(rows, np.int64),
        np.array([listener.infos[row].seconds for row in rows], np.float64),
        vectors[: len(rows)],
        sorted(listener.rejects.items()),
    )


@dataclass
class _Listener:
    """Decodes pieces ahead of need, and drops the recordings that cannot be used."""

    paths: Sequence[str | Path]
    sample_rate: int
    ahead: int
    tick: Callable[[int], None]
    infos: dict[int, AudioInfo] = field(default_factory=dict)
    rejects: dict[int, str] = field(default_factory=dict)

    def pieces(self, pool: ThreadPoolExecutor) -> Iterator[Piece]:
        """The pieces of usable recordings, in order; what is bad is refused on the way."""
        jobs: deque[tuple[int, bool, Future[Decoded]]] = deque()
        plan = self._plan()
        found, peak, current = 0, 0.0, -1
        while True:
            while len(jobs) < self.ahead and (planned := next(plan, None)) is not None:
                row, piece, last = planned
                jobs.append((row, last, pool.submit(self._decode, row, piece)))
            if not jobs:
                return
            row, last, job = jobs.popleft()
            if row != current:
                found, peak, current = 0, 0.0, row
            try:
                wave, loudest = job.result()
            except AudioError as error:
                self._refuse(row, error.what)
                continue
            found, peak = found + len(wave), max(peak, loudest)
            if last and row not in self.rejects and (reason := self._judge(row, found, peak)):
                self._refuse(row, reason)
            if row not in self.rejects:
                yield row, wave, last

    def _plan(self) -> Iterator[tuple[int, int, bool]]:
        """(row, piece, whether it is the last) of every recording whose header can be read."""
        for row, path in enumerate(self.paths):
            try:
                info = self.infos[row] = probe(path)
            except AudioError as error:
                self._refuse(row, error.what)
                continue
            if info.frames == 0:
                self._refuse(row, "has no samples")
                continue
            count = piece_count(info)
            for piece in range(count):
                if row not in self.rejects:
                    yield row, piece, piece == count - 1

    def _decode(self, row: int, piece: int) -> Decoded:
        start = piece * PIECE_SECONDS
        wave = decode(self.paths[row], self.sample_rate, start=start, seconds=PIECE_SECONDS)
        return wave, peak_of(wave)

    def _judge(self, row: int, found: int, peak: float) -> str | None:
        info = self.infos[row]
        whole = resampled_length(info.frames, info.sample_rate, self.sample_rate)
        # A tail too short to be embedded is not decoded either.
        asked = piece_count(info) * round(PIECE_SECONDS * self.sample_rate)
        return judge(info, self.sample_rate, min(whole, asked), found, peak)

    def _refuse(self, row: int, reason: str) -> None:
        if row not in self.rejects:
            self.rejects[row] = reason
            self.tick(1)
