"""Small changes to what is mixed, so that few recordings teach more: all off by default.

A plan of changes is drawn apart from sound, from a random stream of its own: the same clips are
mixed at the same places and levels with and without. The target that a mixture is compared with is
the changed one; its embedding stays that of the recording.

    gain       the level of the whole mixture, uniform in ± `gain` dB
    polarity   each sound upside down, or not, with even chances
    speed      each sound faster and higher, or slower and lower, as a tape is: a factor uniform in
               the whole percents of 1 ± `speed`
    lowpass    every other sound dull: a Butterworth filter of 4th order, whose cut-off is uniform
               on a logarithmic scale from `lowpass` Hz to half the sample rate

Letters: T samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORDER = 4  # of the low-pass
_HIGHEST = 0.98  # of half the sample rate: a cut-off above it would change nothing


@dataclass(frozen=True)
class Change:
    """What is done to one sound.

    Attributes:
        flip: Whether its polarity is reversed.
        percent: Its speed, 100 for its own.
        cutoff: Of the low-pass, in Hz; 0 for none.
    """

    flip: bool = False
    percent: int = 100
    cutoff: float = 0.0

    def needed(self, samples: int) -> int:
        """How many samples of the recording become `samples` of the mixture."""
        return -(-samples * self.percent // 100)

    def apply(
        self, crop: NDArray[np.float32], samples: int, sample_rate: int
    ) -> NDArray[np.float32]:
        """The changed sound.

        Args:
            crop: `needed(samples)` samples of the recording.
            samples: How many are wanted.
            sample_rate: In Hz.

        Shape:
            crop: [T']. Output: float32 [T].
        """
        if self.percent != 100:
            crop = _resampled(crop, self.percent, samples)
        if self.cutoff:
            crop = _dulled(crop, self.cutoff, sample_rate)
        return -crop if self.flip else crop


@dataclass(frozen=True)
class Augmentation:
    """How much may change; nothing by default.

    Attributes:
        gain: In dB.
        polarity: Whether sounds are flipped.
        speed: As a share, below 1.
        lowpass: The lowest cut-off, in Hz; 0 for no filter.
    """

    gain: float = 0.0
    polarity: bool = False
    speed: float = 0.0
    lowpass: float = 0.0

    def __bool__(self) -> bool:
        """Whether anything may change."""
        return bool(self.gain or self.polarity or self.speed or self.lowpass)

    def draw(
        self, sounds: int, sample_rate: int, rng: np.random.Generator
    ) -> tuple[float, tuple[Change, ...]]:
        """Draw the gain of a mixture, in dB, and the change of each of its sounds.

        What is off draws as well, so that one setting does not move another's numbers.

        Args:
            sounds: How many there are, the target first.
            sample_rate: In Hz.
            rng: Source of randomness.
        """
        gain = self.gain * float(rng.uniform(-1.0, 1.0))
        return gain, tuple(self._change(rng.random(4), sample_rate) for _ in range(sounds))

    def _change(self, draws: NDArray[np.float64], sample_rate: int) -> Change:
        flip, speed, dull, cutoff = (float(draw) for draw in draws)
        widest = round(100 * self.speed)
        highest = _HIGHEST * sample_rate / 2
        frequency = 0.0
        if self.lowpass and self.lowpass < highest and dull < 0.5:
            frequency = self.lowpass * math.exp(cutoff * math.log(highest / self.lowpass))
        return Change(
            self.polarity and flip < 0.5,
            100 - widest + int(speed * (2 * widest + 1)),
            frequency,
        )


def _resampled(crop: NDArray[np.float32], percent: int, samples: int) -> NDArray[np.float32]:
    """[T'] to [samples], at another speed."""
    import soxr

    out = np.zeros(samples, np.float32)
    found = soxr.resample(crop, percent, 100)[:samples]
    out[: len(found)] = found
    return out


def _dulled(crop: NDArray[np.float32], cutoff: float, sample_rate: int) -> NDArray[np.float32]:
    from scipy.signal import butter, sosfilt

    sections = butter(ORDER, cutoff, fs=sample_rate, output="sos")
    return np.asarray(sosfilt(sections, crop.astype(np.float64)), np.float32)
