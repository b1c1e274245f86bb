"""Audio files out, block by block: no integer wraps, and no half-written file is left.

Samples go to a temporary file beside the target, which takes the target's name when all is there.
Integer formats cannot hold what lies beyond full scale: such samples are held at full scale and
counted, never wrapped around. Integers are rounded here and not by the library, which scales them
by 2^n - 1 on the way out and by 2^n on the way in.

Letters: C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cache_store.errors import StorageError, UsageError, storage_errors
from trainer.audio_in import PIPE
from trainer.samples import held_by, to_integers
from trainer.unfinished import unfinished

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUBTYPES = {"float": "FLOAT", "pcm16": "PCM_16", "pcm24": "PCM_24"}
# Where a format cannot hold floats: the best that it can.
_FALLBACKS = {"FLAC": "PCM_24", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
_LARGEST_WAV = (1 << 32) - (1 << 16)  # bytes: its sizes have 32 bits
_BYTES = {"FLOAT": 4, "PCM_16": 2, "PCM_24": 3}


class Writer(Protocol):
    """Where samples go.

    Attributes:
        clipped: Samples that were beyond full scale and could not be kept.
    """

    clipped: int

    def write(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Append samples, and return what a reader will find, as far as the format tells.

        Shape: `[C, T]` to the same, float.
        """
        ...


class AudioWriter:
    """An open audio file; made by `open_audio`.

    Attributes:
        clipped: Samples that were beyond full scale and could not be kept.
    """

    def __init__(self, file: Any, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        self.clipped = 0

    def write(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Append samples, and return what a reader will find; lossy formats find about that.

        Shape: `[C, T]` to the same, float.
        """
        if self._encoding == "FLOAT":
            self._file.write(samples.T)
            return samples
        kept, clipped = held_by(self._encoding, samples)
        self.clipped += clipped
        integers = to_integers(self._encoding, kept)
        self._file.write((kept if integers is None else integers).T)
        return kept


@contextmanager
def open_audio(
    path: Path,
    sample_rate: int,
    channels: int,
    subtype: str | None = None,
    samples: int | None = None,
) -> Iterator[AudioWriter]:
    """Write an audio file that appears, whole, when the block ends without an error.

    Args:
        path: Its suffix says the format (.wav, .flac, .ogg, .mp3, .aiff ...).
        sample_rate: In Hz.
        channels: C.
        subtype: `float`, `pcm16` or `pcm24`; by default float, or the best that the format has.
        samples: T, if known: a WAV of more than 4 GiB has to be RF64.

    Raises:
        UsageError: The suffix is of no known format, or that format cannot hold `subtype`.
        StorageError: The place cannot be written.
    """
    import soundfile

    kind, encoding = check_output(path, subtype)
    if kind == "WAV" and channels * (samples or 0) * _BYTES[encoding] > _LARGEST_WAV:
        kind = "RF64"
    with storage_errors(path):
        try:
            # Opened by Python first: the operating system then says why it cannot be written.
            with unfinished(path) as tmp:
                with soundfile.SoundFile(
                    tmp, "w", sample_rate, channels, subtype=encoding, format=kind
                ) as file:
                    yield AudioWriter(file, encoding)
                tmp.replace(path)
        except FileNotFoundError as error:
            raise StorageError("no such folder", where=path.parent) from error
        except soundfile.LibsndfileError as error:
            raise StorageError(
                "cannot write audio",
                where=path,
                found=error,
                hint=f"Is the disk full? Does {path.suffix} hold {channels} channels at "
                f"{sample_rate} Hz? .wav holds any",
            ) from error


def check_output(path: Path, subtype: str | None) -> tuple[str, str]:
    """The format and the encoding that `path` and `subtype` ask for, as soundfile names them.

    Raises:
        UsageError: The suffix is of no known format, or that format cannot hold `subtype`.
    """
    import soundfile

    if path.is_dir():
        raise UsageError("the output is a folder", where=path, expected="an audio file to write")
    suffix = "wav" if path == PIPE else path.suffix[1:].lower()
    kind = {"aif": "AIFF", "oga": "OGG"}.get(suffix, suffix.upper())
    if kind not in soundfile.available_formats():
        raise UsageError(
            "no audio format goes by this suffix",
            where=path,
            expected=".wav, .flac, .ogg, .mp3 or .aiff",
        )
    if subtype is not None and subtype not in SUBTYPES:
        raise UsageError("no such subtype", where=subtype, expected=" | ".join(SUBTYPES))
    encoding = SUBTYPES[subtype] if subtype else _FALLBACKS.get(kind, "FLOAT")
    known = soundfile.available_subtypes(kind)
    if encoding not in known:
        raise UsageError(
            f"{path.suffix} cannot hold {subtype or 'float'}",
            where=path,
            expected=", ".join(name for name, code in SUBTYPES.items() if code in known)
            or "no --subtype",
        )
    return kind, encoding
