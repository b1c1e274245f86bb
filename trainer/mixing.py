"""A target and its interferers become a mixture at a given level.

With the level rms(x) = sqrt(mean(x²)) over the crop, computed in float64:

    v = Σ_j n_j / rms(n_j)                      interferers at equal level
    g = rms(t) / (rms(v) · 10^(SNR / 20))       so that 10 log10(mean(t²) / mean((g v)²)) = SNR
    m = t + g v

Another level may take the place of rms, such as loudness (`trainer.loudness`): then SNR is the
target's loudness over that of the interferers.

If max|m| > 1, where an integer format would clip, then m, t and g v are all scaled by
0.9 / max|m|: the SNR and the sum m = t + g v stay as they were.

With one interferer and rms as level, rms(v) = 1, and g n = n · rms(t) / (rms(n) · 10^(SNR / 20)) is
computed at once, in float32 with a factor from float64: the same to the rounding of float32, in
half the time.

Each thread keeps two arrays for what is computed on the way: on some machines fresh memory takes
longer than the arithmetic that is done in it.

Letters: T samples, J interferers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CEILING = 0.9  # the peak of a mixture that would have clipped
_KEPT = 1 << 20  # samples: for longer mixtures nothing is kept
_TINY, _HUGE = 1e-15, 1e15  # what float32 holds with room to spare, squares and products too
_scratch = threading.local()


@dataclass(frozen=True)
class Mixture:
    """A mixture and its two parts; `mixture` is their sum.

    Attributes:
        mixture: float32 [T].
        target: float32 [T].
        interferer: All interferers together, float32 [T].
    """

    mixture: NDArray[np.float32]
    target: NDArray[np.float32]
    interferer: NDArray[np.float32]


def rms(samples: NDArray[np.floating]) -> float:
    """Root of the mean square, in float64; [T] to a number."""
    # Not a BLAS dot product: its value would depend on the number of threads.
    squares = np.square(samples, out=_work(len(samples))[0], dtype=np.float64)
    return float(np.sqrt(np.mean(squares)))


def mix(
    target: NDArray[np.float32],
    interferers: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    snr_db: float,
    level_of: Callable[[NDArray[Any]], float] = rms,
    out: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> Mixture:
    """Mix at a signal-to-noise ratio; see the formulas above.

    Args:
        target: The wanted sound.
        interferers: The others, one a row, or a list of them.
        snr_db: The target's level over that of all interferers together, in dB.
        level_of: What measures a level: of twice the samples it has to be twice as high.
        out: Where to put the mixture and the target; by default into new arrays.

    Shape:
        target: [T]; interferers: [J, T], J >= 1; out: [T] each.

    Raises:
        AudioError: If the target, or one of the interferers, is silent over the crop.
    """
    level = level_of(target)
    if level == 0.0:
        raise AudioError("the target is silent over the crop")
    if len(interferers) == 1 and level_of is rms:
        mixed = _mix_two(target, interferers[0], level, snr_db, out)
        if mixed is not None:
            return mixed
    work, noise = _work(len(target))
    noise.fill(0.0)
    for interferer in interferers:
        other = level_of(interferer)
        if other == 0.0:
            raise AudioError("an interferer is silent over the crop")
        noise += np.divide(interferer, other, out=work, dtype=np.float64)
    together = level_of(noise)
    if together == 0.0:
        raise AudioError("the interferers cancel each other")
    noise *= level / (together * 10.0 ** (snr_db / 20.0))
    both = np.add(target, noise, out=work)
    peak = max(float(both.max()), -float(both.min()))
    if peak > 1.0:
        target = np.multiply(target, CEILING / peak, out=work, dtype=np.float64)
        noise *= CEILING / peak
    unwanted = noise.astype(np.float32)
    both, wanted = out or np.empty((2, len(target)), np.float32)
    np.copyto(wanted, target, casting="same_kind")
    return Mixture(np.add(wanted, unwanted, out=both), wanted, unwanted)


def _mix_two(
    target: NDArray[np.float32],
    interferer: NDArray[np.float32],
    level: float,
    snr_db: float,
    out: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
) -> Mixture | None:
    """`mix` with one interferer in float32; None where that has not the range for it."""
    other = rms(interferer)
    if other == 0.0:
        raise AudioError("an interferer is silent over the crop")
    gain = level / (other * 10.0 ** (snr_db / 20.0))
    if not all(_TINY < value < _HUGE for value in (level, other, gain)):
        return None
    both, wanted = out or np.empty((2, len(target)), np.float32)
    np.copyto(wanted, target)
    unwanted = np.multiply(interferer, np.float32(gain), dtype=np.float32)
    np.add(wanted, unwanted, out=both)
    peak = max(float(both.max()), -float(both.min()))
    if peak > 1.0:
        wanted *= np.float32(CEILING / peak)
        unwanted *= np.float32(CEILING / peak)
        np.add(wanted, unwanted, out=both)
    return Mixture(both, wanted, unwanted)


def _work(samples: int) -> NDArray[np.float64]:
    """Two rows of memory to compute in, float64 [2, samples]; `rms` takes the first."""
    if samples > _KEPT:
        return np.empty((2, samples))
    kept: NDArray[np.float64] | None = getattr(_scratch, "rows", None)
    if kept is None or kept.shape[1] != samples:
        kept = _scratch.rows = np.empty((2, samples))
    return kept
