"""From any waveform to what an audio tower takes: mono, one sample rate, windows of one length.

Everything here is deterministic: the same samples always give the same windows, on any machine and
in any batch. Nothing is cropped at random and nothing is quantised.

Letters: C channels, T samples, W samples of a window.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import AudioError, UsageError

PADDINGS = ("repeatpad", "repeat", "pad")


def prepare(
    waveform: NDArray[np.floating],
    sample_rate: int,
    target_rate: int,
    *,
    where: str | None = None,
) -> NDArray[np.float32]:
    """Check a waveform, take the mean of its channels and resample it.

    Resampling is soxr's "HQ" quality (linear phase). A mono float32 waveform that already has the
    target rate is returned as it is, without a copy.

    Args:
        waveform: Samples, full scale at ±1. Shape: `[T]`, or `[C, T]` with the channels first.
        sample_rate: Of the waveform, in Hz.
        target_rate: Wanted, in Hz.
        where: What to call the recording in an error ("clip 3", a path).

    Returns:
        float32 samples. Shape: `[T * target_rate / sample_rate]`, at least one sample.

    Raises:
        AudioError: For no samples, samples that are not finite, integers, or other dimensions.
        UsageError: For a sample rate that is not positive.
    """
    if sample_rate <= 0 or target_rate <= 0:
        raise UsageError(
            "a sample rate must be positive, in Hz",
            where=where,
            found=min(sample_rate, target_rate),
        )
    samples = np.asarray(waveform)
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            "samples must be floating point, full scale at ±1", where=where, found=samples.dtype
        )
    if samples.ndim not in (1, 2):
        raise AudioError(
            "a waveform must have the shape [T] or [C, T]", where=where, found=list(samples.shape)
        )
    if samples.size == 0:
        raise AudioError("the recording has no samples", where=where)
    with np.errstate(invalid="ignore", over="ignore"):
        if samples.ndim == 2:
            samples = samples.mean(axis=0, dtype=np.float32)
        mono = np.ascontiguousarray(samples, dtype=np.float32)
        # The sum is finite exactly when every sample is (float64 cannot overflow here); unlike
        # isfinite().all() it needs no second array as long as the recording.
        total = mono.sum(dtype=np.float64)
    if not np.isfinite(total):
        raise AudioError("the recording has samples that are NaN or infinite", where=where)
    if sample_rate == target_rate:
        return mono
    import soxr

    resampled = np.asarray(soxr.resample(mono, sample_rate, target_rate), dtype=np.float32)
    # A handful of samples can round to none: keep the level rather than lose the recording.
    return resampled if resampled.size else mono[:1].copy()


def windows(samples: NDArray[np.float32], length: int) -> Iterator[NDArray[np.float32]]:
    """Cut a recording into windows that together cover every sample of it.

    A recording of at most `length` samples is one window, unpadded. A longer one is covered by the
    fewest windows that can: their starts are evenly spaced, the first at the beginning and the last
    aligned to the end, so neighbours overlap a little rather than the last one being padded.

    Args:
        samples: Mono. Shape: `[T]`.
        length: Samples of a window, W.

    Yields:
        Views of `samples`. Shape: `[min(T, W)]`.
    """
    total = len(samples)
    if total <= length:
        yield samples
        return
    count = -(-total // length)
    for index in range(count):
        # Integer arithmetic: no rounding of floats, so no difference between machines.
        start = index * (total - length) // (count - 1)
        yield samples[start : start + length]


def fill(samples: NDArray[np.float32], length: int, padding: str) -> NDArray[np.float32]:
    """Bring a window to exactly `length` samples, by the rule that the model was trained with.

    Args:
        samples: Shape: `[T]` with T at most `length`.
        length: Samples wanted, W.
        padding: `repeatpad`, the rule of laion-clap: as many whole repetitions as fit, then zeros;
            `repeat`: repetitions, the last one cut; `pad`: zeros only.

    Returns:
        Shape: `[W]`.
    """
    if padding not in PADDINGS:
        raise UsageError(
            "unknown rule for short recordings", expected=" | ".join(PADDINGS), found=padding
        )
    if len(samples) == length:
        return samples
    whole = length // len(samples)
    if padding == "repeat":
        return np.tile(samples, whole + 1)[:length]
    if padding == "repeatpad":
        samples = np.tile(samples, whole)
    return np.pad(samples, (0, length - len(samples)))
