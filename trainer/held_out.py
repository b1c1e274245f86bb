"""Fixed mixtures to validate and evaluate on: the same for every run, strategy and machine.

A plan is a list of rows and numbers, drawn from the clips and a seed alone, so that runs can be
compared on the very same mixtures. Each has one interferer, of another label or caption than the
target: else a text would not say which of the two is meant. A longer plan begins with the shorter
one. Every clip is a target once before any is twice.

Letters: T samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cache_store.clips import ClipTable
from cache_store.errors import UsageError
from trainer.clip_audio import ClipAudio
from trainer.mixing import Mixture, mix
from trainer.pairing import Pairing
from trainer.rounds import Rounds

_ROUND, _ITEM = 0x4E1, 0x4E2


@dataclass(frozen=True)
class HeldOutMixture:
    """One fixed mixture.

    Attributes:
        target: The target's row in the table of clips.
        interferer: The interferer's row.
        target_start: Where the target's crop starts, in samples; negative if the crop is longer
            than the clip.
        interferer_start: The same for the interferer.
        samples: Length of both crops.
        snr_db: The target's level against the interferer, in dB.
    """

    target: int
    interferer: int
    target_start: int
    interferer_start: int
    samples: int
    snr_db: float


def plan_mixtures(
    clips: ClipTable,
    n: int,
    seed: int,
    snr: float | tuple[float, float] = 0.0,
    *,
    audio: ClipAudio,
    seconds: float = 2.0,
) -> list[HeldOutMixture]:
    """Plan `n` mixtures.

    Args:
        clips: The held-out clips, checked by `usable`.
        n: How many mixtures.
        seed: Of the plan.
        snr: In dB; a pair for uniform draws between the two.
        audio: The clips' sound: crops are placed where there is some.
        seconds: Length of a mixture.

    Raises:
        UsageError: If `n` is less than one.
        DataError: If no two clips can be mixed.
        AudioError: If a clip cannot be decoded.
    """
    if n < 1:
        raise UsageError("the number of mixtures must be at least 1", found=n)
    low, high = snr if isinstance(snr, tuple) else (snr, snr)
    pairing = Pairing(clips, "auto")
    rounds = Rounds(len(clips), seed, _ROUND)
    samples = round(seconds * audio.sample_rate)
    plans = []
    for index in range(n):
        rng = np.random.default_rng([seed, _ITEM, index])
        target = rounds[index]
        (interferer,) = pairing.draw(target, 1, rng)
        snr_db = float(rng.uniform(low, high))
        starts = [audio.place(clip, samples, *rng.random(2)) for clip in (target, interferer)]
        plans.append(HeldOutMixture(target, interferer, starts[0], starts[1], samples, snr_db))
    return plans


def render(plan: HeldOutMixture, audio: ClipAudio) -> Mixture:
    """The sound of a planned mixture.

    Raises:
        AudioError: If a clip cannot be decoded.
    """
    target = audio.crop(plan.target, plan.target_start, plan.samples)
    interferer = audio.crop(plan.interferer, plan.interferer_start, plan.samples)
    return mix(target, interferer[np.newaxis], plan.snr_db)
