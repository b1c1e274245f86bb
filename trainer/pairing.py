"""Which clips may interfere with which.

Never the same recording. Where clips are labelled, never the same label (the caption stands in for
a label that is missing). Where they are not, but have embeddings, not one of the same kind as far
as embeddings tell: a pair more alike than a quantile of the similarities of all pairs does not
meet. A draw is uniform over the clips that are left; where the embeddings leave none, their rule
is dropped for that target.

Letters: n clips, D embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cache_store.clips import ClipTable
from cache_store.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TRIES = 32  # draws before the allowed clips are listed one by one
_PAIRS = 50_000  # pairs from which the quantile is taken
_BLOCK = 16_384  # clips whose embeddings are compared at once
_PURPOSE = 0x70A1


class Pairing:
    """Draws interferers.

    Args:
        clips: The clips.
        avoid: `label`, `embedding`, `none`, or `auto`: labels where any are known, else
            captions and embeddings, as far as they are there.
        quantile: With embeddings, the share of pairs that may meet.

    Raises:
        DataError: If no clip could ever have an interferer, or what `avoid` needs is not there.
    """

    def __init__(self, clips: ClipTable, avoid: str = "auto", quantile: float = 0.9) -> None:
        self._recordings = _codes(clips.names)
        labelled = clips.label is not None and any(label is not None for label in clips.label)
        if avoid == "label" and not labelled:
            raise DataError("the clips have no labels to keep apart", where=clips.source or None)
        if avoid == "embedding" and clips.embeddings is None:
            raise DataError("the clips have no embeddings", where=clips.source or None)
        self._kinds = _kinds(clips) if avoid in ("auto", "label") else None
        self._embeddings = None
        if clips.embeddings is not None and (
            avoid == "embedding" or (avoid == "auto" and not labelled)
        ):
            self._embeddings = clips.embeddings
            self.threshold = self._quantile(quantile)
        if len(np.unique(self._recordings)) < 2:
            raise DataError("a mixture needs at least two recordings", where=clips.source or None)
        if self._kinds is not None and len(np.unique(self._kinds)) < 2:
            raise DataError(
                "all clips have the same label, so none can interfere with another",
                where=clips.source or None,
            )

    def __len__(self) -> int:
        """How many clips there are."""
        return len(self._recordings)

    def draw(self, target: int, n: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Interferers for a target, of different recordings; fewer than `n` if there are not as
        many that are allowed, but at least one.

        Args:
            target: The target's row.
            n: How many.
            rng: Source of randomness.
        """
        chosen: list[int] = []
        while len(chosen) < n:
            clip = self._one(target, chosen, rng)
            if clip is None:
                break
            chosen.append(clip)
        return tuple(chosen)

    def _one(self, target: int, taken: Sequence[int], rng: np.random.Generator) -> int | None:
        for _ in range(_TRIES):
            clip = int(rng.integers(len(self)))
            if self._allowed(target, np.array([clip]), taken)[0]:
                return clip
        everyone = np.array_split(np.arange(len(self)), len(self) // _BLOCK + 1)
        for alike in (True, False):
            parts = [self._allowed(target, part, taken, alike) for part in everyone]
            left = np.flatnonzero(np.concatenate(parts))
            if len(left):
                return int(left[rng.integers(len(left))])
        return None

    def _allowed(
        self, target: int, clips: NDArray[np.int64], taken: Sequence[int], alike: bool = True
    ) -> NDArray[np.bool_]:
        """Which of `clips` may interfere; `alike` is whether embeddings have a say."""
        allowed = self._recordings[clips] != self._recordings[target]
        for other in taken:
            allowed &= self._recordings[clips] != self._recordings[other]
        if self._kinds is not None:
            allowed &= self._kinds[clips] != self._kinds[target]
        if self._embeddings is not None and alike:
            # Not a BLAS product: its last bits would depend on how many clips are asked for.
            cosines = np.einsum("nd,d->n", self._embeddings[clips], self._embeddings[target])
            allowed &= cosines <= self.threshold
        return allowed

    def _quantile(self, quantile: float) -> float:
        """The quantile of the cosine of pairs of different recordings, from a fixed sample."""
        assert self._embeddings is not None
        n = len(self)
        if n * n <= _PAIRS:
            left, right = (side.ravel() for side in np.indices((n, n)))
        else:
            left, right = np.random.default_rng(_PURPOSE).integers(n, size=(2, _PAIRS))
        apart = self._recordings[left] != self._recordings[right]
        left, right = left[apart], right[apart]
        if not len(left):
            return 1.0
        cosines = [
            np.einsum("pd,pd->p", self._embeddings[left[part]], self._embeddings[right[part]])
            for part in np.array_split(np.arange(len(left)), max(len(left) // 4096, 1))
        ]
        return float(np.quantile(np.concatenate(cosines), quantile))


def _kinds(clips: ClipTable) -> NDArray[np.int64] | None:
    """A number for each clip's label, or caption where it has none; clips with neither differ
    from every other."""
    none = [None] * len(clips)
    kinds = [
        (0, label) if label is not None else (1, caption) if caption is not None else (2, row)
        for row, (label, caption) in enumerate(
            zip(clips.label or none, clips.caption or none, strict=True)
        )
    ]
    return _codes(kinds)


def _codes(values: Sequence[object]) -> NDArray[np.int64]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return np.array([numbers[value] for value in values], np.int64)
