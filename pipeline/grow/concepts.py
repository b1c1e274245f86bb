"""Which concepts to write about, so that the far clips get captions: pure.

A caption about concept c serves a far clip if c scores within the threshold of the clip's best
concept: then the clip's gap closes once the cache holds c. So the task is a cover: as few concepts
as possible that together serve every far clip. Greedily, the concept that serves most of the clips
not yet served comes first; near relatives (dog, guard dog, howling dog) then become one of them,
and money is not spent on synonyms.

How often each is asked for grows with the square root of the clips that it serves, at least once a
round of the plan, at most `MOST_REPEATS` times as often as the rarest: a hundred dog clips among
two owls must not take everything, since more captions about dogs bring less and less.

Letters: n clips, C concepts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.grow.coverage import Coverage, Flags, Scores

MOST_REPEATS = 8
LEAST_CAPTIONS = 4  # that a concept is asked for in a round; fewer would hardly be about it


@dataclass(frozen=True)
class Choice:
    """The concepts of one round, those that serve most clips first.

    Attributes:
        concepts: Their rows in the bank.
        clips: For each, how many far clips it is to serve.
        repeats: For each, how often it comes in a round of the plan.
        unserved: Far clips that no concept is left for.
        later: Far clips whose concepts have to wait for another round.
    """

    concepts: tuple[int, ...]
    clips: tuple[int, ...]
    repeats: tuple[int, ...]
    unserved: int
    later: int


def choose(
    scores: Scores,
    coverage: Coverage,
    held_concepts: Flags,
    asked: Collection[int],
    most: int | None = None,
) -> Choice:
    """Choose what to write about.

    Args:
        scores: Of the clips.
        coverage: Which of them are far.
        held_concepts: Which concepts the cache holds, [C].
        asked: Concepts that were asked for before, and brought no caption near them.
        most: Concepts at most; None for as many as it takes.
    """
    far = np.flatnonzero(coverage.far)
    serves = _serves(scores, coverage, held_concepts, asked, far)
    open_clips = serves.any(axis=1)
    unserved = int((~open_clips).sum())
    chosen: list[int] = []
    clips: list[int] = []
    margins = np.where(serves, scores.typical[far], 0.0).sum(axis=0)
    while open_clips.any() and (most is None or len(chosen) < most):
        gains = serves[open_clips].sum(axis=0)
        # Of concepts that serve as many clips, the one that fits them better, then the first.
        best = max(np.flatnonzero(gains == gains.max()).tolist(), key=lambda c: (margins[c], -c))
        chosen.append(best)
        clips.append(int(gains[best]))
        open_clips &= ~serves[:, best]
    return Choice(
        concepts=tuple(chosen),
        clips=tuple(clips),
        repeats=repeats(clips),
        unserved=unserved,
        later=int(open_clips.sum()),
    )


def _serves(
    scores: Scores,
    coverage: Coverage,
    held_concepts: Flags,
    asked: Collection[int],
    far: NDArray[np.int64],
) -> Flags:
    """Whether a caption about a concept would serve a far clip, [far, C]."""
    typical = scores.typical[far]
    near = typical >= (typical.max(axis=1, initial=-1.0) - coverage.threshold)[:, None]
    free = ~held_concepts
    free[list(asked)] = False
    return np.asarray(near & free[None, :])


def repeats(clips: Sequence[int]) -> tuple[int, ...]:
    """How often each concept comes in a round, from the clips that it serves."""
    if not clips:
        return ()
    fewest = min(clips)
    return tuple(min(MOST_REPEATS, round(math.sqrt(count / fewest))) for count in clips)
