"""From what a separator made of a recording to a verdict on each query: `trainer.confidence` with
a run's own space, rate and calibration.

Letters: C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cache_store.errors import UsageError
from trainer.asking import check_waveform
from trainer.confidence import Evidence, Verdict
from trainer.resampling import Resampler
from trainer.separation import Piece

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from trainer.calibration import Calibration
    from trainer.queries import TextQueries
    from trainer.run import RunRecord


class Judge:
    """Judges what the separator of a run made.

    Args:
        record: The run.
        queries: Its space.
        calibration: Makes a probability of evidence; None if the run has none for its checkpoint.
        seconds: Length of the windows that evidence is taken from; by default the calibration's,
            else that of the mixtures of the training.

    Attributes:
        calibration: The same.
    """

    def __init__(
        self,
        record: RunRecord,
        queries: TextQueries,
        calibration: Calibration | None,
        seconds: float | None = None,
    ) -> None:
        self.calibration = calibration
        self._queries = queries
        self._rate = record.sample_rate
        known = calibration.window_seconds if calibration else record.seconds
        self._seconds = seconds or known

    @property
    def deaf(self) -> str:
        """Why the sound itself was not judged; "" if it was, or nothing was judged yet."""
        return self._queries.deaf

    def evidence(self, queries: int, sound: bool = True) -> Evidence:
        """An empty collection of evidence for as many queries.

        Args:
            queries: How many.
            sound: Whether to listen: embedding audio takes time.
        """
        listens = sound and self._queries.ears() is not None
        return Evidence(queries, round(self._seconds * self._rate), listens)

    def verdicts(self, evidence: Evidence, queries: Sequence[str]) -> list[Verdict]:
        """A verdict for each query, from the evidence gathered for it.

        Raises:
            DataError: A query's embedding is not known.
        """
        ears = self._queries.ears() if evidence.has_sound else None
        conditions = list(self._queries.embed(list(queries)))
        return evidence.verdicts(conditions, self._rate, ears, self.calibration)

    def assess(
        self, waveform: ArrayLike, estimate: ArrayLike, sample_rate: int, query: str
    ) -> Verdict:
        """Whether what was asked for is in a recording, from what was taken out of it.

        Args:
            waveform: The recording.
            estimate: What `Separator.separate` made of it.
            sample_rate: Of both, in Hz.
            query: What was asked for.

        Shape:
            - waveform, estimate: `[T]` or `[C, T]`

        Raises:
            AudioError: There are no samples, or some that are not finite.
            UsageError: The shapes differ.
            DataError: The query's embedding is not known.
        """
        both = [np.atleast_2d(check_waveform(part, sample_rate)) for part in (waveform, estimate)]
        if both[0].shape != both[1].shape:
            raise UsageError(
                "an estimate is as long as its recording, and has its channels",
                expected=list(both[0].shape),
                found=list(both[1].shape),
            )
        rows = np.concatenate(both)
        stream = Resampler(len(rows), sample_rate, self._rate)
        mixture, found = np.split(np.concatenate([stream.push(rows), stream.finish()], axis=1), 2)
        evidence = self.evidence(1)
        evidence.add(Piece(mixture, found[None]))
        return self.verdicts(evidence, [query])[0]
