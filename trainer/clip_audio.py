"""The sound of a table of clips at the training rate: crops of it, and where it is silent.

While the whole set is small it is decoded once into one flat array, which worker processes share
where they are forked. Where there is room on a disk, a larger set is kept so in a file that is
mapped into memory. Beyond that, each crop is decoded from disk when it is asked for, and a clip's
activity is measured when it is first needed, or for all clips by `measure`, and then remembered (a
bit for each 50 ms).
All ways give the same samples to about 1e-6 of full scale.

Letters: n clips, S distinct recordings (several clips may share one), T samples.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache_store.clips import ClipTable, decode, probe, resampled_length
from cache_store.console import progress
from cache_store.errors import AudioError, storage_errors
from trainer.activity import active_blocks, block_length, block_powers, place

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEMORY_LIMIT = 1 << 30  # bytes
_PIECE_BLOCKS = 1200  # a minute: what is decoded at once to measure activity


class ClipAudio:
    """Crops of clips by row number.

    Args:
        clips: The clips; check them first with `usable` at the same rate.
        sample_rate: In Hz.
        memory_limit: The most bytes to keep decoded; 0 keeps none.
        disk_limit: The most bytes to keep decoded in a file instead, where memory does not do. The
            file has no name, and is gone with the process.
        folder: Where that file is; by default where temporary files are.
        workers: Threads that decode in `measure` and at the start; by default one a processor, at
            most 16.

    Raises:
        AudioError: If a recording cannot be decoded, or is silent.
        StorageError: If the disk has no room for the file.
    """

    def __init__(
        self,
        clips: ClipTable,
        sample_rate: int,
        *,
        memory_limit: int = MEMORY_LIMIT,
        disk_limit: int = 0,
        folder: Path | None = None,
        workers: int | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.block = block_length(sample_rate)
        slots = {name: slot for slot, name in enumerate(dict.fromkeys(clips.names))}
        self._slots = np.array([slots[name] for name in clips.names], np.int64)
        paths = dict(zip(clips.names, clips.paths, strict=True))
        self._paths = tuple(paths[name] for name in slots)
        self._activity: dict[int, tuple[int, NDArray[np.uint8]]] = {}
        self._workers = workers or min(os.cpu_count() or 1, 16)
        self._samples: NDArray[np.float32] | None = None
        self._bounds: NDArray[np.int64] = np.zeros(1, np.int64)
        expected = self._expected_bytes(clips)
        if 0 < expected <= memory_limit:
            self._load(lambda samples: np.zeros(samples, np.float32))
        elif 0 < expected <= disk_limit:
            self._load(lambda samples: _file_of(samples, folder))

    @property
    def decoded(self) -> bool:
        """Whether every recording is kept decoded, in memory or in a file."""
        return self._samples is not None

    def measure(self) -> None:
        """Find out where every recording has sound, now and in parallel.

        Otherwise each process that mixes would do so for itself, a whole recording at the first
        crop of it.

        Raises:
            AudioError: If a recording cannot be decoded, or is silent.
        """
        missing = [slot for slot in range(len(self._paths)) if slot not in self._activity]
        if not missing:
            return
        with (
            ThreadPoolExecutor(self._workers) as pool,
            progress("find sound", len(missing), "clips") as advance,
        ):
            for slot, measured in zip(missing, pool.map(self._measure, missing), strict=True):
                self._activity[slot] = measured
                advance()

    def length(self, clip: int) -> int:
        """Samples of a clip."""
        return self._measured(int(self._slots[clip]))[0]

    def active(self, clip: int) -> NDArray[np.bool_]:
        """Which blocks of `self.block` samples of a clip have sound.

        Raises:
            AudioError: If none has.
        """
        length, bits = self._measured(int(self._slots[clip]))
        return np.unpackbits(bits, count=-(-length // self.block)).astype(bool)

    def place(self, clip: int, crop: int, u: float, v: float) -> int:
        """Where a crop of `crop` samples starts, for two draws; see `trainer.activity.place`."""
        return place(self.active(clip), self.length(clip), crop, self.block, u, v)

    def crop(self, clip: int, start: int, length: int) -> NDArray[np.float32]:
        """A crop, with zeros where it reaches beyond the clip.

        Args:
            clip: The clip's row.
            start: In samples; may be negative.
            length: In samples.

        Returns:
            float32 [length]; not to be written to, since it may be a part of what is kept.
        """
        slot = int(self._slots[clip])
        first = max(start, 0)
        wanted = start + length - first
        if self._samples is not None:
            begin, end = self._bounds[slot], self._bounds[slot + 1]
            part = self._samples[begin + first : max(min(begin + first + wanted, end), 0)]
        else:
            seconds = max(wanted, 0) / self.sample_rate
            part = decode(
                self._paths[slot],
                self.sample_rate,
                start=first / self.sample_rate,
                seconds=seconds,
            )
        if len(part) == length:
            return part
        out = np.zeros(length, np.float32)
        out[first - start : first - start + len(part)] = part
        return out

    def _expected_bytes(self, clips: ClipTable) -> int:
        """What all recordings take when decoded, by what `usable` found or by their headers."""
        known = clips.columns.get("seconds")
        if known is not None:
            seconds = dict(zip(clips.names, known, strict=True))
            return int(4 * self.sample_rate * sum(seconds.values()))
        return int(4 * self.sample_rate * sum(probe(path).seconds for path in self._paths))

    def _load(self, room_for: Callable[[int], NDArray[np.float32]]) -> None:
        infos = [probe(path) for path in self._paths]
        sizes = [resampled_length(i.frames, i.sample_rate, self.sample_rate) for i in infos]
        self._bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        flat = room_for(int(self._bounds[-1]))

        def fill(slot: int) -> tuple[int, NDArray[np.uint8]]:
            wave = decode(self._paths[slot], self.sample_rate)[: sizes[slot]]
            begin = self._bounds[slot]
            flat[begin : begin + len(wave)] = wave
            whole = flat[begin : self._bounds[slot + 1]]
            return self._activity_of(slot, len(whole), block_powers(whole, self.sample_rate))

        with (
            ThreadPoolExecutor(self._workers) as pool,
            progress("decode", len(self._paths), "clips") as advance,
        ):
            for slot, measured in enumerate(pool.map(fill, range(len(self._paths)))):
                self._activity[slot] = measured
                advance()
        flat.flags.writeable = False
        self._samples = flat

    def _measured(self, slot: int) -> tuple[int, NDArray[np.uint8]]:
        """Length in samples, and activity as packed bits."""
        if slot not in self._activity:
            self._activity[slot] = self._measure(slot)
        return self._activity[slot]

    def _measure(self, slot: int) -> tuple[int, NDArray[np.uint8]]:
        piece = _PIECE_BLOCKS * self.block / self.sample_rate  # in seconds, whole blocks
        length = 0
        powers: list[NDArray[np.float64]] = []
        while True:
            wave = decode(
                self._paths[slot], self.sample_rate, start=len(powers) * piece, seconds=piece
            )
            length += len(wave)
            powers.append(block_powers(wave, self.sample_rate))
            if len(wave) < _PIECE_BLOCKS * self.block:
                return self._activity_of(slot, length, np.concatenate(powers))

    def _activity_of(
        self, slot: int, length: int, powers: NDArray[np.float64]
    ) -> tuple[int, NDArray[np.uint8]]:
        active = active_blocks(powers)
        if not active.any():
            raise AudioError(f"is silent at {self.sample_rate} Hz", where=self._paths[slot])
        return length, np.packbits(active)


def _file_of(samples: int, folder: Path | None) -> NDArray[np.float32]:
    """Zeros that lie in a file without a name; float32 [samples]."""
    where = folder or Path(tempfile.gettempdir())
    with storage_errors(where), tempfile.TemporaryFile(dir=where) as file:
        # A disk that is full must say so here: written through a map, it would kill the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, 4 * samples)
        else:
            file.truncate(4 * samples)
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(samples,)))
