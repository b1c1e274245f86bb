"""A WAV file into a pipe, which cannot be gone back in to fill in its length.

Where the length is known it is in the header; where it is not, as in a recording that is still
going on, the header says the largest that it can, which readers of pipes take for "until the end".
libsndfile writes no WAV to a pipe.

Letters: C channels, T samples.
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING

from trainer.samples import held_by, to_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BITS = {"FLOAT": 32, "PCM_16": 16, "PCM_24": 24}
_FLOAT_TAG, _PCM_TAG = 3, 1
_UNKNOWN = 0xFFFFFFFF
_HEADER = 44


class WavPipe:
    """Writes WAV to a stream.

    Args:
        stream: Binary; flushed after every block.
        sample_rate: In Hz.
        channels: C.
        encoding: `FLOAT`, `PCM_16` or `PCM_24`.
        samples: T, None if not known.

    Attributes:
        clipped: Samples that were beyond full scale and could not be kept.
    """

    def __init__(
        self,
        stream: IO[bytes],
        sample_rate: int,
        channels: int,
        encoding: str = "FLOAT",
        samples: int | None = None,
    ) -> None:
        self.clipped = 0
        self._stream = stream
        self._encoding = encoding
        stream.write(wav_header(sample_rate, channels, encoding, samples))
        stream.flush()

    def write(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Append samples, and return what a reader will find. Shape: `[C, T]` to the same."""
        kept, clipped = held_by(self._encoding, samples)
        self.clipped += clipped
        self._stream.write(to_bytes(self._encoding, kept))
        self._stream.flush()
        return kept


def wav_header(sample_rate: int, channels: int, encoding: str, samples: int | None) -> bytes:
    """The 44 bytes before the samples (RIFF, WAVE, `fmt ` and the begin of `data`).

    Args:
        sample_rate: In Hz.
        channels: C.
        encoding: `FLOAT`, `PCM_16` or `PCM_24`.
        samples: T, None if not known.
    """
    bits = _BITS[encoding]
    frame = channels * bits // 8
    size = _UNKNOWN if samples is None else min(samples * frame, _UNKNOWN)
    tag = _FLOAT_TAG if encoding == "FLOAT" else _PCM_TAG
    return b"".join(
        (
            struct.pack("<4sI4s", b"RIFF", min(size + _HEADER - 8, _UNKNOWN), b"WAVE"),
            struct.pack("<4sIHHII", b"fmt ", 16, tag, channels, sample_rate, sample_rate * frame),
            struct.pack("<HH4sI", frame, bits, b"data", size),
        )
    )
