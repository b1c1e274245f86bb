"""How loud a crop is to the ear: loudness after ITU-R BS.1770-4, as a level beside the rms.

The measure of BS.1770 (K-weighting, then the mean power of blocks of 400 ms that pass two gates) is
pyloudnorm's. Its first gate is absolute, at -70 LUFS, and recordings may be much fainter than that;
so a crop is brought to an rms of -20 dB for the measurement, and the difference added again. What
the gate refuses even then, such as a constant or a rumble that nobody hears, has its rms as level.

Letters: T samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cache_store.errors import MissingDependencyError
from trainer.mixing import rms

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REFERENCE = 0.1  # rms at which a crop is measured
_BLOCK_SECONDS = 0.4  # of BS.1770


class Loudness:
    """The level of crops of one length, for `trainer.mixing.mix`.

    Args:
        sample_rate: Of the crops, in Hz.
        seconds: Their length. A crop shorter than a block of BS.1770 is measured as one block.

    Raises:
        MissingDependencyError: pyloudnorm is not installed.
    """

    def __init__(self, sample_rate: int, seconds: float) -> None:
        try:
            from pyloudnorm import Meter
        except ImportError as error:
            raise MissingDependencyError(
                "levels by loudness need pyloudnorm", hint="pip install 'lqtse[loudness]'"
            ) from error
        samples = round(seconds * sample_rate)
        self._meter = Meter(sample_rate, block_size=min(_BLOCK_SECONDS, samples / sample_rate))

    def __call__(self, samples: NDArray[np.floating]) -> float:
        """10^(L/20) for a loudness of L LUFS; near the rms for a tone of 1 kHz.

        Twice the samples have twice the level, whatever the level.

        Shape:
            samples: [T], of the length that was announced.
        """
        scale = rms(samples)
        if scale == 0.0:
            return 0.0
        loudness = self._meter.integrated_loudness(
            samples.astype(np.float64) * (_REFERENCE / scale)
        )
        if not np.isfinite(loudness):
            return scale
        return float(10.0 ** (loudness / 20.0) * scale / _REFERENCE)
