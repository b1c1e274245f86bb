"""Where the numbers of a procedural sound come from, and why no two splits share one.

Every number that shapes a sound (a pitch in Hz, a gap in seconds, a level) is drawn through `Draw`
from a range. A range is cut into bands by position, 0 at its low end and 1 at its high end; each
split owns some of the bands, the same ones for every range, with a gap between neighbours. So no
value that `demo` can draw could ever have been drawn for `train`, parameter by parameter, while
both still cover the range. What is not a parameter (samples of noise, the instants of random
events) comes from the generator itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import UsageError

# Interleaved, so that `demo` and `held-out` ask for interpolation: that a model fails outside the
# ranges it was trained on is known; whether it learnt more than the values it saw is the question.
BANDS: Mapping[str, tuple[tuple[float, float], ...]] = MappingProxyType(
    {
        "train": ((0.0, 0.20), (0.40, 0.60), (0.80, 1.0)),
        "demo": ((0.225, 0.29), (0.71, 0.775)),
        "held-out": ((0.31, 0.375), (0.625, 0.69)),
    }
)
SPLITS = tuple(BANDS)


class Draw:
    """Draws the parameters of one clip from the bands of one split.

    Args:
        rng: The source of all randomness.
        split: One of `SPLITS`.

    Attributes:
        rng: For what is not a parameter: noise and the instants of random events.
        drawn: What was drawn so far: for each name its range and its values, in order.

    Raises:
        UsageError: For an unknown split.
    """

    def __init__(self, rng: np.random.Generator, split: str) -> None:
        if split not in BANDS:
            raise UsageError("unknown split", expected=f"one of {', '.join(SPLITS)}", found=split)
        self.rng = rng
        self.drawn: dict[str, tuple[float, float, list[float]]] = {}
        bands = np.array(BANDS[split])
        self._lows = bands[:, 0]
        self._widths = bands[:, 1] - bands[:, 0]
        self._edges = np.cumsum(self._widths)

    def __call__(self, name: str, low: float, high: float) -> float:
        """One value; see `each`."""
        return float(self.each(name, low, high, 1)[0])

    def each(self, name: str, low: float, high: float, count: int) -> NDArray[np.float64]:
        """`count` values from the split's bands of one range.

        Args:
            name: What is drawn; within a kind of sound, one name means one range.
            low: The low end; with `low > 0` positions are geometric (equal ratios), else linear.
            high: The high end.
            count: How many.

        Shape:
            - output: [count] float64
        """
        mass = self.rng.random(count) * self._edges[-1]
        band = np.minimum(np.searchsorted(self._edges, mass, side="right"), len(self._lows) - 1)
        position = self._lows[band] + self._widths[band] - (self._edges[band] - mass)
        values = value_at(position, low, high)
        self.drawn.setdefault(name, (low, high, []))[2].extend(values.tolist())
        return values


def value_at(position: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """The values at positions 0 to 1 of a range: geometric for `low > 0`, else linear."""
    if low > 0:
        return low * np.exp(position * math.log(high / low))
    return low + position * (high - low)


def position_of(value: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """The inverse of `value_at`."""
    if low > 0:
        return np.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
