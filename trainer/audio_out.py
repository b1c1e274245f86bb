"""Audio files out, block by block: no integer wraps, and no half-written file is left.

Samples go to a temporary file beside the target, which takes the target's name when all is there.
Integer formats cannot hold what lies beyond full scale: such samples are held at full scale and
counted, never wrapped around.

Letters: C channels, T samples.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import StorageError, UsageError, storage_errors
from cache_store.files import TMP_PREFIX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUBTYPES = {"float": "FLOAT", "pcm16": "PCM_16", "pcm24": "PCM_24"}
# Where a format cannot hold floats: the best that it can.
_FALLBACKS = {"FLAC": "PCM_24", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}


class AudioWriter:
    """An open audio file; made by `open_audio`.

    Attributes:
        clipped: Samples that were beyond full scale and could not be kept.
    """

    def __init__(self, file: Any, limited: bool) -> None:
        self._file = file
        self._limited = limited
        self.clipped = 0

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples. Shape: `[C, T]`, float."""
        if self._limited:
            import numpy as np

            self.clipped += int((np.abs(samples) > 1.0).sum())
            samples = np.clip(samples, -1.0, 1.0)
        self._file.write(samples.T)


@contextmanager
def open_audio(
    path: Path, sample_rate: int, channels: int, subtype: str | None = None
) -> Iterator[AudioWriter]:
    """Write an audio file that appears, whole, when the block ends without an error.

    Args:
        path: Its suffix says the format (.wav, .flac, .ogg, .mp3, .aiff ...).
        sample_rate: In Hz.
        channels: C.
        subtype: `float`, `pcm16` or `pcm24`; by default float, or the best that the format has.

    Raises:
        UsageError: The suffix is of no known format, or that format cannot hold `subtype`.
        StorageError: The place cannot be written.
    """
    import soundfile

    kind, encoding = check_output(path, subtype)
    tmp = path.parent / f"{TMP_PREFIX}{uuid.uuid4().hex}{path.suffix}"
    with storage_errors(path):
        try:
            # Opened by Python first: the operating system then says why it cannot be written.
            tmp.touch()
            with soundfile.SoundFile(
                tmp, "w", sample_rate, channels, subtype=encoding, format=kind
            ) as file:
                yield AudioWriter(file, limited=encoding != "FLOAT")
            tmp.replace(path)
        except FileNotFoundError as error:
            raise StorageError("no such folder", where=path.parent) from error
        except soundfile.LibsndfileError as error:
            raise StorageError(
                "cannot write audio", where=path, found=error, hint="Is the disk full?"
            ) from error
        finally:
            tmp.unlink(missing_ok=True)


def check_output(path: Path, subtype: str | None) -> tuple[str, str]:
    """The format and the encoding that `path` and `subtype` ask for, as soundfile names them.

    Raises:
        UsageError: The suffix is of no known format, or that format cannot hold `subtype`.
    """
    import soundfile

    if path.is_dir():
        raise UsageError("the output is a folder", where=path, expected="an audio file to write")
    kind = {"AIF": "AIFF", "OGA": "OGG"}.get(path.suffix[1:].upper(), path.suffix[1:].upper())
    if kind not in soundfile.available_formats():
        raise UsageError(
            "no audio format goes by this suffix",
            where=path,
            expected=".wav, .flac, .ogg, .mp3 or .aiff",
        )
    if subtype is not None and subtype not in SUBTYPES:
        raise UsageError("no such subtype", where=subtype, expected=" | ".join(SUBTYPES))
    encoding = SUBTYPES[subtype] if subtype else _FALLBACKS.get(kind, "FLOAT")
    if encoding not in soundfile.available_subtypes(kind):
        raise UsageError(
            f"{path.suffix} cannot hold {subtype or 'float'}",
            where=path,
            expected=", ".join(
                name
                for name, code in SUBTYPES.items()
                if code in soundfile.available_subtypes(kind)
            )
            or "no --subtype",
        )
    return kind, encoding
