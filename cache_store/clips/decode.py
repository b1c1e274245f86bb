"""Probe and decode recordings: only the crop that was asked for is read and resampled.

A crop equals the same span of the whole recording after resampling (to about 1e-6 of full scale):
it starts at a frame that falls on a whole sample of the new rate, and carries a margin on either
side that is longer than the resampling filter and is cut off afterwards. Reads files by soundfile
(WAV, FLAC, OGG, MP3, AIFF, ...), resamples by soxr. The cost is that of the crop, not of the file.

Letters: C channels, T samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import AudioError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Half the length of soxr's high-quality filter stays below this many samples of the lower rate.
_MARGIN = 256


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a recording says.

    Attributes:
        sample_rate: In Hz.
        channels: How many channels.
        frames: Samples in each channel.
    """

    sample_rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.frames / self.sample_rate


def probe(path: str | Path) -> AudioInfo:
    """Read the header of a recording.

    Raises:
        AudioError: If there is no such file, or none that soundfile can read.
    """
    with _open(Path(path)) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames)


def resampled_length(frames: int, source_rate: int, sample_rate: int) -> int:
    """Samples that `frames` at one rate give at another (rates in Hz), rounded half up."""
    return (2 * frames * sample_rate + source_rate) // (2 * source_rate)


def decode(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    mono: bool = True,
) -> NDArray[np.float32]:
    """Decode a recording, or a crop of it.

    Args:
        path: The recording.
        sample_rate: In Hz; None keeps the recording's own.
        start: Where the crop begins, in seconds; rounded to a sample of `sample_rate`.
        seconds: The length of the crop; None reads to the end. Rounded likewise.
        mono: Whether to average the channels.

    Returns:
        Samples in [-1, 1] for integer formats, unscaled for floating-point ones; shorter than
        asked where the recording ends first.

    Shape:
        Output: [T] if `mono`, else [C, T]; float32.

    Raises:
        AudioError: If the file is missing, unreadable, or holds samples that are not finite.
        UsageError: For a negative start or length, or a rate that is not positive.
    """
    if start < 0 or (seconds is not None and seconds < 0):
        raise UsageError(f"a crop must not be negative, got start {start}, seconds {seconds}")
    if sample_rate is not None and sample_rate <= 0:
        raise UsageError(f"the sample rate must be positive, got {sample_rate}")
    path = Path(path)
    with _open(path) as file:
        rate = sample_rate or file.samplerate
        first = round(start * rate)
        length = resampled_length(file.frames, file.samplerate, rate)
        last = length if seconds is None else min(length, first + round(seconds * rate))
        samples, offset = _read(file, first, last, rate, path)
    if not math.isfinite(float(np.sum(samples, dtype=np.float64))):
        raise AudioError("holds samples that are not finite (NaN or infinite)", where=path)
    if mono and samples.shape[1] > 1:
        samples = samples.mean(axis=1, keepdims=True, dtype=np.float32)
    if rate != file.samplerate and len(samples):
        import soxr

        samples = soxr.resample(samples, file.samplerate, rate)
    crop = np.ascontiguousarray(samples[offset : offset + max(last - first, 0)].T)
    return crop[0] if mono else crop


def _read(
    file: Any, first: int, last: int, rate: int, path: Path
) -> tuple[NDArray[np.float32], int]:
    """Frames [T', C] that cover samples `first` to `last` of `rate`, and where `first` lies."""
    source = file.samplerate
    if last <= first:
        return np.zeros((0, file.channels), np.float32), 0
    if source == rate:
        begin, end, offset = first, last, 0
    else:
        step = math.gcd(source, rate)
        frames, samples = source // step, rate // step  # the shortest span whole at both rates
        spans = math.ceil(_MARGIN / min(frames, samples))
        lead = max(first // samples - spans, 0)
        begin = lead * frames
        end = min((-(-last // samples) + spans) * frames, file.frames)
        offset = first - lead * samples
    import soundfile

    try:
        file.seek(begin)
        return file.read(end - begin, dtype="float32", always_2d=True), offset
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise AudioError(f"cannot be decoded ({_clause(error)})", where=path) from error


def _open(path: Path) -> Any:
    import soundfile

    try:
        return soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError) as error:
        if not path.exists():
            raise AudioError("no such file", where=path) from error
        if path.is_dir():
            raise AudioError("is a folder, not a recording", where=path) from error
        if path.stat().st_size == 0:
            raise AudioError("is an empty file", where=path) from error
        raise AudioError(f"cannot be read as audio ({_clause(error)})", where=path) from error


def _clause(error: Exception) -> str:
    """What libsndfile says, without the path that it repeats."""
    text = str(getattr(error, "error_string", "") or error)
    return text.rstrip(". ").replace("Error : ", "")
