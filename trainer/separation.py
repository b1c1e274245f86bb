"""What separates a stream at the model's rate, whichever way: fed with blocks, it gives pieces.

Letters: Q queries, C channels, T samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Piece(NamedTuple):
    """A stretch of a recording, separated.

    Attributes:
        mixture: float32 `[C, T]`.
        estimates: float32 `[Q, C, T]`.
    """

    mixture: NDArray[np.float32]
    estimates: NDArray[np.float32]


class Separation(ABC):
    """One stream: `feed` it blocks, then `finish`.

    Attributes:
        latency: Samples that have to follow one until it comes out, at most.
        work: Seconds of sound that the separator goes through for a second of the stream.
    """

    latency: int
    work: float

    @abstractmethod
    def feed(self, block: NDArray[np.float32]) -> Iterator[Piece]:
        """Take a block `[C, T]`; yields what is done by now. To be read to its end."""

    @abstractmethod
    def finish(self) -> Iterator[Piece]:
        """Yields what is left when the recording has ended."""
