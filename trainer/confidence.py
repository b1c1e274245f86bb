"""How likely it is that what was asked for is in a recording.

Evidence, of the recording m, the estimate e and the query q, with the audio and text embeddings of
the run's space and unit norm:

    clap_score           e · q             does what came out sound like the query?
    clap_score_mixture   m · q             did it before?
    energy_share         ‖e‖² / ‖m‖²       in dB: how much came out?

In a long recording the sound may be a second of an hour, so all three are taken where the estimate
has its energy: the recording is cut into windows of the length that the calibration had, the
`KEPT` windows with the most energy in the estimate are kept, and their embeddings and shares are
averaged with that energy for weights. So memory and time are bounded.

A logistic regression makes a probability of them, fitted by `lqtse calibrate` on held-out mixtures
of which half hold what is asked for. Where the space has no ears, another one of the energy share
alone does.

Letters: Q queries, C channels, T samples, W samples of a window, D embedding size.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.calibration import Calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cache_store.spaces.base import Space
    from trainer.separation import Piece

KEPT = 12
SMALLEST_SHARE = 1e-8  # -80 dB
_SMALLEST_ENERGY = 1e-12


@dataclass(frozen=True)
class Verdict:
    """What is known about one query.

    Attributes:
        energy_share: Energy of the whole estimate over that of the whole recording.
        local_share_db: The same in dB where the estimate has its energy.
        clap_score: Cosine of the estimate with the query; None without ears.
        clap_score_mixture: Cosine of the recording with the query; None without ears.
        confidence: Probability that what was asked for is there; None without a calibration.
    """

    energy_share: float
    local_share_db: float
    clap_score: float | None = None
    clap_score_mixture: float | None = None
    confidence: float | None = None

    @property
    def features(self) -> tuple[float, ...]:
        """What a calibration is fitted to: the share, then the scores if there are any."""
        scores = (self.clap_score, self.clap_score_mixture)
        return (self.local_share_db, *(score for score in scores if score is not None))


class Evidence:
    """Gathers, piece by piece, what a verdict needs.

    Args:
        queries: Q.
        window: W.
        keep_sound: Whether the sound of the windows is wanted, for a space with ears.

    Attributes:
        has_sound: The same.
    """

    def __init__(self, queries: int, window: int, keep_sound: bool) -> None:
        self._window = max(window, 1)
        self.has_sound = keep_sound
        self._order = itertools.count()
        self._best: list[list[tuple[float, int, _Window]]] = [[] for _ in range(queries)]
        self._totals = np.zeros((queries, 2))
        self._held: list[NDArray[np.float32]] = []
        self._size = 0

    def add(self, piece: Piece) -> None:
        """Take a piece of the recording and its estimates into account."""
        mixture = np.asarray(piece.mixture, np.float32).mean(axis=0)[None]
        # Row 0 is the recording, the others are the estimates; channels are averaged.
        self._held.append(np.concatenate([mixture, piece.estimates.mean(axis=1)]))
        self._size += piece.mixture.shape[1]
        energies = np.square(piece.estimates, dtype=np.float64).sum(axis=(1, 2))
        self._totals[:, 0] += energies
        self._totals[:, 1] += np.square(piece.mixture, dtype=np.float64).sum()
        if self._size >= self._window:
            self._cut(whole=False)

    def verdicts(
        self,
        conditions: Sequence[NDArray[np.float32]],
        sample_rate: int,
        ears: Space | None,
        calibration: Calibration | None,
    ) -> list[Verdict]:
        """A verdict for each query. To be called once, at the end.

        Args:
            conditions: Embeddings of the queries, unit norm, `[D]` each.
            sample_rate: Of the pieces, in Hz.
            ears: Embeds audio in the run's space, None if nothing can.
            calibration: Makes probabilities, None if there is none.
        """
        if self._size:
            self._cut(whole=True)
        found = []
        for row, condition in enumerate(conditions):
            windows = [window for _, _, window in sorted(self._best[row], reverse=True)]
            verdict = _verdict(windows, self._totals[row], condition, sample_rate, ears)
            found.append(calibration.apply(verdict) if calibration is not None else verdict)
        return found

    def _cut(self, whole: bool) -> None:
        """Cut windows from what is held; `whole` takes the shorter rest as one too."""
        joined = np.concatenate(self._held, axis=1)
        start = 0
        while joined.shape[1] - start >= self._window:
            self._take(joined[:, start : start + self._window])
            start += self._window
        if whole and start < joined.shape[1]:
            self._take(joined[:, start:])
            start = joined.shape[1]
        self._held = [joined[:, start:].copy()]
        self._size = joined.shape[1] - start

    def _take(self, rows: NDArray[np.float32]) -> None:
        energies = np.square(rows, dtype=np.float64).sum(axis=1)
        for query, best in enumerate(self._best):
            energy, number = float(energies[1 + query]), next(self._order)
            # The earlier of two equals stays: -number.
            if len(best) == KEPT and (energy, -number) <= best[0][:2]:
                continue
            sound = rows[[0, 1 + query]].copy() if self.has_sound else None
            entry = (energy, -number, _Window(energy, float(energies[0]), sound))
            (heapq.heappush if len(best) < KEPT else heapq.heappushpop)(best, entry)


@dataclass(frozen=True)
class _Window:
    """A window: energy of the estimate, of the recording, and both sounds, [2, W]."""

    energy: float
    mixture: float
    sound: NDArray[np.float32] | None


def _verdict(
    windows: list[_Window],
    totals: NDArray[np.float64],
    condition: NDArray[np.float32],
    sample_rate: int,
    ears: Space | None,
) -> Verdict:
    share = float(totals[0] / max(totals[1], _SMALLEST_ENERGY))
    weights = np.array([window.energy for window in windows]) + _SMALLEST_ENERGY
    weights /= weights.sum()
    shares = [window.energy / max(window.mixture, _SMALLEST_ENERGY) for window in windows]
    local = 10 * float(np.log10(max(float(weights @ np.array(shares)), SMALLEST_SHARE)))
    sounds = [window.sound for window in windows if window.sound is not None]
    if ears is None or len(sounds) < len(windows):
        return Verdict(share, local)

    def score(row: int) -> float:
        vectors = ears.embed_audio([sound[row] for sound in sounds], sample_rate)
        mean = weights @ vectors.astype(np.float64)
        return float(mean @ condition / max(float(np.linalg.norm(mean)), _SMALLEST_ENERGY))

    return Verdict(share, local, score(1), score(0))
