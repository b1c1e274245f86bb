"""What comes out of a separator that is asked for something that is not in the mixture.

It should be silent then. How loud it is stands beside how loud it is for the right query, both
against the mixture:

    level = 10 log10(mean(e²) / mean(m²))       at least -60 dB

At an SNR of 0 dB a perfect separator has a level of -3 dB for the right query (as far as the sounds
do not cancel each other), and -60 dB for an absent one.

An absent query is that of another clip, of another label than the target and the interferer, or of
another caption where clips have no labels. It is drawn by the mixture's number and the seed alone,
so every run is asked the same.

Letters: M mixtures, T samples.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainer.held_out import HeldOutMixture

if TYPE_CHECKING:
    from cache_store.clips import ClipTable

LOWEST = -60.0  # dB: below it nobody hears a difference, and a mean would be one of silences
_PURPOSE = 0x4E3


def level_db(estimates: Tensor, mixtures: Tensor) -> Tensor:
    """Energy of estimates against that of mixtures, in dB, at least `LOWEST`.

    Shape: `[..., T]` twice to `[...]`. A silent mixture counts as one with a mean square of 1e-10.
    """
    heard, whole = estimates.square().mean(-1), mixtures.square().mean(-1)
    share = heard / whole.clamp_min(1e-10)
    return 10 * torch.log10(share.clamp_min(10 ** (LOWEST / 10)))


def kinds_of(clips: ClipTable) -> list[Hashable | None]:
    """What each clip is of, as far as its label or else its caption tells; None where neither."""
    none: list[str | None] = [None] * len(clips)
    pairs = zip(clips.label or none, clips.caption or none, strict=True)
    return [label or caption for label, caption in pairs]


def absent_clips(
    plans: Sequence[HeldOutMixture],
    kinds: Sequence[Hashable | None],
    queries: Sequence[str],
    seed: int,
) -> list[int] | None:
    """For each mixture, a clip whose query asks for something else than what is in it.

    Args:
        plans: The mixtures.
        kinds: What each clip is of; None for not known, and such a clip asks for nothing.
        queries: The query of each clip.
        seed: Of the draws.

    Returns:
        A row a mixture; None if for one of them there is no such clip, or its own kinds are not
        known.
    """
    codes: dict[Hashable, int] = {}
    numbers = np.array(
        [-1 if kind is None else codes.setdefault(kind, len(codes)) for kind in kinds]
    )
    words: dict[str, int] = {}
    asked = np.array([words.setdefault(query, len(words)) for query in queries])
    rows = []
    for index, plan in enumerate(plans):
        both = [plan.target, plan.interferer]
        others = np.flatnonzero(
            ~np.isin(numbers, numbers[both]) & ~np.isin(asked, asked[both]) & (numbers >= 0)
        )
        if not len(others) or (numbers[both] < 0).any():
            return None
        rng = np.random.default_rng([seed, _PURPOSE, index])
        rows.append(int(others[rng.integers(len(others))]))
    return rows
