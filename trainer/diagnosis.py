"""What a search in a cache will be like for these clips: the modality gap, and hubs.

Measured once at the start of a run, logged, and warned about where it bodes ill.

- The gap is the distance between the two clouds' means (Liang et al., arXiv 2203.02053).
- A hub is a caption that is nearest to many clips. How many captions are used at all, the share of
  the most used one, and the skewness of the number of times that a caption is among the k nearest
  (Radovanovic, Nanopoulos and Ivanovic, JMLR 2010) tell how far retrieval collapses onto a few.

Letters: n clips, N rows, K neighbours, D embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cache_store.index.centring import mean_of

if TYPE_CHECKING:
    from torch import Tensor

HUB_SHARE = 0.2  # of the clips, above which one caption's part is warned about
FEW_CAPTIONS = 10  # clips for each caption that is used, above which that is warned about


@dataclass(frozen=True)
class Diagnosis:
    """What was measured.

    Attributes:
        gap: Distance between the mean audio and the mean text embedding.
        nearest: Mean cosine of a clip to its nearest caption.
        used: Captions that are nearest to some clip.
        hub: Clips for which the most used caption is the nearest.
        skewness: Of the number of times that a caption is among the neighbours; 0 where all are
            used alike.
        clips: n.
        captions: N.
    """

    gap: float
    nearest: float
    used: int
    hub: int
    skewness: float
    clips: int
    captions: int

    def to_dict(self) -> dict[str, float]:
        """By name, for the journal."""
        return {name: float(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return (
            f"gap between the means of audio and text {self.gap:.2f}; nearest caption at cosine "
            f"{self.nearest:.2f}; {self.used:,} of {self.captions:,} captions are nearest to one "
            f"of {self.clips:,} clips, the most used to {self.hub:,} (skewness {self.skewness:.1f})"
        )

    def warnings(self) -> Iterator[str]:
        """What a user should know before waiting for the training."""
        if self.clips < 2 * FEW_CAPTIONS:
            return  # too few clips to tell
        share = self.hub / self.clips
        remedy = "try --centred, or captions for these recordings: lqtse-cache grow"
        if share > HUB_SHARE:
            yield f"one caption is the nearest for {share:.0%} of the clips (a hub): {remedy}"
        if self.clips / self.used > FEW_CAPTIONS and self.captions > 2 * self.used:
            yield (
                f"only {self.used:,} of {self.captions:,} captions are nearest to any of "
                f"{self.clips:,} clips: {remedy}"
            )


def diagnose(
    audio: Tensor, matrix: Tensor, rows: Tensor, scores: Tensor, live: Tensor | None = None
) -> Diagnosis:
    """Measure the gap and the hubs.

    Args:
        audio: The clips' embeddings, unit norm.
        matrix: The cache's rows.
        rows: Each clip's nearest rows, nearest first.
        scores: Their cosines (centred ones, if the search was).
        live: Which rows a search can return; None for all.

    Shape:
        audio: [n, D]; matrix: [N, D]; rows, scores: [n, K]; live: bool [N].
    """
    import torch

    count = len(matrix) if live is None else int(live.sum())
    texts, sounds = mean_of(matrix, live).cpu(), mean_of(audio).cpu()
    first = torch.bincount(rows[:, 0].cpu(), minlength=len(matrix))
    among = torch.bincount(rows.reshape(-1).cpu(), minlength=len(matrix)).double()
    if live is not None:
        among = among[live.cpu()]
    return Diagnosis(
        gap=float((texts - sounds).norm()),
        nearest=float(scores[:, 0].mean()),
        used=int((first > 0).sum()),
        hub=int(first.max()),
        skewness=_skewness(among),
        clips=len(audio),
        captions=count,
    )


def _skewness(values: Tensor) -> float:
    centred = values - values.mean()
    spread = float(centred.square().mean())
    return 0.0 if spread == 0 else float(centred.pow(3).mean()) / math.pow(spread, 1.5)
