"""Where in a recording there is sound, and where to crop so that a crop has some.

Many recordings are a short sound and then silence, digital or nearly so; a crop drawn blindly
would often hold nothing to extract. A recording is cut into blocks of 50 ms; a block is active if
its rms is within 40 dB of the loudest block's. A crop is placed by two draws, u and v, uniform in
[0, 1): u picks an active block, v the start of the crop among all starts that keep the whole block
inside. So every crop holds sound, and a sound falls anywhere in it.

Letters: T samples, M blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_SECONDS = 0.05
RANGE = 10.0 ** (-40.0 / 20.0)  # of the loudest block's rms


def block_length(sample_rate: int) -> int:
    """Samples in a block at `sample_rate` (in Hz)."""
    return max(round(BLOCK_SECONDS * sample_rate), 1)


def block_powers(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """The mean square of each block; the last block may be shorter than the others.

    Shape:
        samples: [T]. Output: float64 [M], M = ceil(T / block_length).
    """
    length = block_length(sample_rate)
    starts = np.arange(0, len(samples), length)
    if not len(starts):
        return np.zeros(0)
    energies = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    return energies / np.diff(np.append(starts, len(samples)))


def active_blocks(powers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which blocks have sound. All are inactive exactly if the recording is all zeros.

    Shape:
        powers: [M]. Output: bool [M].
    """
    loudest = powers.max(initial=0.0)
    return powers >= RANGE**2 * loudest if loudest > 0 else np.zeros(len(powers), bool)


def place(
    active: NDArray[np.bool_], samples: int, crop: int, block: int, u: float, v: float
) -> int:
    """Where a crop starts, in samples; negative where the crop is longer than the recording, which
    then lies inside it with silence around.

    Args:
        active: bool [M], at least one of them true.
        samples: Length of the recording.
        crop: Length of the crop, at least `block`.
        block: Length of a block.
        u: Picks the block, in [0, 1).
        v: Picks the start, in [0, 1).
    """
    choices = np.flatnonzero(active)
    begin = int(choices[int(u * len(choices))]) * block
    end = min(begin + block, samples)
    first = max(min(0, samples - crop), end - crop)
    last = min(max(0, samples - crop), begin)
    return first + int(v * (last - first + 1))
