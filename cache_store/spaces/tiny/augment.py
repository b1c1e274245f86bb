"""Variation at training time, on log-mels: mixing, background, filtering, cuts, masks.

All in the mel domain, where a batch costs a millisecond; powers of independent sounds add, so a sum
of mel powers is what the mel of the summed sounds would be, up to its phase terms.

Letters: B batch, F bands, L frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cache_store.spaces.tiny.features import BANDS, FLOOR_DB

Mel = NDArray[np.float32]

_SILENT_DB = 35.0  # a crop whose loudest cell lies this far below its clip's has missed the sound
_TRIES = 6


def crop(mel: NDArray[np.float16], frames: int, rng: np.random.Generator) -> Mel:
    """A random stretch in which something sounds. Shape: [F, L] to [F, frames]."""
    # Every fourth band is enough to find the loud frames.
    loudest = mel[::4].astype(np.float32).max(axis=0)
    for _ in range(_TRIES):
        start = int(rng.integers(0, mel.shape[1] - frames + 1))
        if loudest[start : start + frames].max() >= loudest.max() - _SILENT_DB:
            break
    return mel[:, start : start + frames].astype(np.float32)


def mix(first: Mel, second: Mel, snr_db: float) -> Mel:
    """Two sounds at once, the first `snr_db` dB above the second in mean power. Shape: [F, L]."""
    level = _power_db(first) - _power_db(second) - np.float32(snr_db)
    return _db(_power(first) + _power(second + level))


def join(first: Mel, second: Mel, rng: np.random.Generator) -> Mel:
    """One sound after the other, at equal levels. Shape: [F, L]."""
    cut = int(first.shape[1] * rng.uniform(0.35, 0.65))
    second = second + (_power_db(first) - _power_db(second))
    return np.concatenate([first[:, :cut], second[:, cut:]], axis=1)


def colour(mel: Mel, rng: np.random.Generator) -> Mel:
    """What microphones, rooms and codecs do: a smooth random filter, a band edge, hiss."""
    if rng.random() < 0.5:
        knots = rng.normal(0, 4, 6)
        curve = np.interp(np.linspace(0, 5, BANDS), np.arange(6), knots)
        mel = mel + curve[:, None].astype(np.float32)
    if rng.random() < 0.15:
        edge = int(rng.integers(BANDS // 2, BANDS))
        fall = np.clip(6.0 * (np.arange(BANDS) - edge), 0, 60)
        mel = mel - fall[:, None].astype(np.float32)
    if rng.random() < 0.4:
        # Noise between brown (-6 dB an octave) and white, over the bands, whose width grows.
        slope = rng.uniform(-25, 12)
        shape = np.linspace(-slope / 2, slope / 2, BANDS)[:, None]
        grain = _db(rng.standard_exponential(mel.shape, dtype=np.float32))
        mel = mix(mel, shape.astype(np.float32) + grain, float(rng.uniform(5, 45)))
    return mel


def mask(mel: Mel, rng: np.random.Generator) -> Mel:
    """Blank some bands and some frames (SpecAugment, arXiv 1904.08779), now and then."""
    mel = mel.copy()
    if rng.random() < 0.3:
        width = int(rng.integers(1, 12))
        start = int(rng.integers(0, BANDS - width))
        mel[start : start + width] = -FLOOR_DB
    if rng.random() < 0.3:
        width = int(rng.integers(1, 24))
        start = int(rng.integers(0, mel.shape[1] - width))
        mel[:, start : start + width] = -FLOOR_DB
    return mel


_NEPERS = np.float32(np.log(10) / 10)  # exp and log of float32 are several times faster than 10**x


def _power(mel: Mel) -> Mel:
    return np.exp(mel * _NEPERS)


def _db(power: Mel) -> Mel:
    return np.log(power + np.float32(10 ** (-FLOOR_DB / 10))) / _NEPERS


def _power_db(mel: Mel) -> np.float32:
    return np.float32(10 * np.log10(np.mean(_power(mel)) + 1e-10))
