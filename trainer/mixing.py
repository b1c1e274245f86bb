"""A target and its interferers become a mixture at a given level.

With the level rms(x) = sqrt(mean(x²)) over the crop, computed in float64:

    v = Σ_j n_j / rms(n_j)                      interferers at equal level
    g = rms(t) / (rms(v) · 10^(SNR / 20))       so that 10 log10(mean(t²) / mean((g v)²)) = SNR
    m = t + g v

Another level may take the place of rms, such as loudness (`trainer.loudness`): then SNR is the
target's loudness over that of the interferers.

If max|m| > 1, where an integer format would clip, then m, t and g v are all scaled by
0.9 / max|m|: the SNR and the sum m = t + g v stay as they were.

Letters: T samples, J interferers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CEILING = 0.9  # the peak of a mixture that would have clipped


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
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def mix(
    target: NDArray[np.float32],
    interferers: NDArray[np.float32],
    snr_db: float,
    level_of: Callable[[NDArray[Any]], float] = rms,
) -> Mixture:
    """Mix at a signal-to-noise ratio; see the formulas above.

    Args:
        target: The wanted sound.
        interferers: The others, one a row.
        snr_db: The target's level over that of all interferers together, in dB.
        level_of: What measures a level: of twice the samples it has to be twice as high.

    Shape:
        target: [T]; interferers: [J, T], J >= 1.

    Raises:
        AudioError: If the target, or one of the interferers, is silent over the crop.
    """
    level = level_of(target)
    if level == 0.0:
        raise AudioError("the target is silent over the crop")
    noise = np.zeros(len(target), np.float64)
    for interferer in interferers:
        other = level_of(interferer)
        if other == 0.0:
            raise AudioError("an interferer is silent over the crop")
        noise += interferer.astype(np.float64) / other
    together = level_of(noise)
    if together == 0.0:
        raise AudioError("the interferers cancel each other")
    noise *= level / (together * 10.0 ** (snr_db / 20.0))
    peak = float(np.max(np.abs(target + noise)))
    scale = CEILING / peak if peak > 1.0 else 1.0
    wanted = (scale * target.astype(np.float64)).astype(np.float32)
    unwanted = (scale * noise).astype(np.float32)
    return Mixture(wanted + unwanted, wanted, unwanted)
