"""Recordings in, block by block: any format that soundfile reads, from a file or a pipe.

Letters: C channels, T samples.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import AudioError, storage_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_SECONDS = 5.0
PIPE = Path("-")  # standard input or output, in place of a file


def read_blocks(path: Path) -> Iterator[NDArray[np.float32]]:
    """Read a recording as it is, a few seconds at a time. Yields float32 `[C, T]`.

    Raises:
        AudioError: It cannot be read, or has samples that are not finite.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            yield from _blocks(file, BLOCK_SECONDS, path)
    except soundfile.LibsndfileError as error:
        raise AudioError("the recording cannot be decoded", where=path, found=error) from error


@contextmanager
def spooled(stream: IO[bytes]) -> Iterator[Path]:
    """A file with all that comes out of a pipe; gone afterwards.

    A recording is read twice, first for its level, and a pipe can be read once.

    Raises:
        AudioError: Nothing comes.
        StorageError: The disk has no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="lqtse-") as folder:
        path = Path(folder) / "standard-input"
        with storage_errors(path), path.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        if not path.stat().st_size:
            raise AudioError("standard input is empty", expected="a recording")
        yield path


class PipeReader:
    """A recording that is still going on, from a pipe: WAV, AU, or what else needs no seeking.

    Args:
        stream: Has a file descriptor.

    Attributes:
        sample_rate: In Hz.
        channels: C.

    Raises:
        AudioError: It is no such recording.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        import soundfile

        try:
            self._file = soundfile.SoundFile(stream.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                "standard input cannot be read while it goes on",
                expected="WAV or AU",
                found=error,
                hint="Leave out --live, or convert it: ffmpeg -i INPUT -f wav -",
            ) from error
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)

    def blocks(self, seconds: float) -> Iterator[NDArray[np.float32]]:
        """What comes, `seconds` at a time. Yields float32 `[C, T]`.

        Raises:
            AudioError: There are samples that are not finite.
        """
        with self._file as file:
            yield from _blocks(file, seconds, PIPE)


def _blocks(file: Any, seconds: float, where: Path) -> Iterator[NDArray[np.float32]]:
    size = max(1, round(seconds * file.samplerate))
    while len(block := file.read(size, dtype="float32", always_2d=True)):
        if not np.isfinite(block).all():
            raise AudioError("there are samples that are not finite", where=where)
        yield np.ascontiguousarray(block.T)
