"""An endless stream of training mixtures; item i is a pure function of (seed, i).

Planning is separate from sound: `plan_mixture` says which clips, at what level and by which draws
the crops are placed; `MixtureDataset` decodes and mixes. So the stream does not depend on how many
workers or processes make it, in which order, or where a run was resumed. Targets go round: every
clip is a target once before any is twice.

Letters: T samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from cache_store.clips import ClipTable
from cache_store.errors import AudioError
from trainer.augment import Augmentation, Change
from trainer.clip_audio import ClipAudio
from trainer.config import TrainConfig
from trainer.held_out import HeldOutMixture, plan_mixtures, render
from trainer.mixing import Mixture, mix, rms
from trainer.pairing import Pairing
from trainer.rounds import Rounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Batch",
    "HeldOutMixture",
    "Item",
    "MixtureDataset",
    "MixturePlan",
    "collate",
    "plan_mixture",
    "plan_mixtures",
    "render",
]

_ROUND, _ITEM, _CHANGES = (
    0x7A1,
    0x7A2,
    0x7A3,
)  # purposes, to keep the random streams of one seed apart


class Item(TypedDict):
    """What `MixtureDataset` yields.

    Attributes:
        mixture: float32 [T].
        target: float32 [T].
        clip: The target's row in the table of clips, int64.
        interferer: The first interferer's row, int64.
        snr: In dB, float32.
    """

    mixture: Tensor
    target: Tensor
    clip: Tensor
    interferer: Tensor
    snr: Tensor


class Batch(list[Item]):
    """Items that were made together; they are views of tensors that `collate` need not copy.

    Args:
        together: The items, stacked: `[B, T]` and `[B]`.
    """

    def __init__(self, together: Item) -> None:
        rows = range(len(together["clip"]))
        super().__init__(
            {
                "mixture": together["mixture"][row],
                "target": together["target"][row],
                "clip": together["clip"][row],
                "interferer": together["interferer"][row],
                "snr": together["snr"][row],
            }
            for row in rows
        )
        self.together = together


def collate(items: list[Item]) -> Any:
    """Stack items, as a `DataLoader` does, but without a copy where they were made together."""
    return items.together if isinstance(items, Batch) else default_collate(items)


@dataclass(frozen=True)
class MixturePlan:
    """A mixture before any sound is read.

    Attributes:
        target: The target's row.
        interferers: The interferers' rows, at least one.
        snr_db: The target's level against all interferers, in dB.
        draws: For the target and each interferer, the two draws that place its crop.
        gain_db: By how much the whole mixture is louder than the target's recording, in dB.
        changes: What is done to the target and to each interferer; empty for nothing.
    """

    target: int
    interferers: tuple[int, ...]
    snr_db: float
    draws: tuple[tuple[float, float], ...]
    gain_db: float = 0.0
    changes: tuple[Change, ...] = ()


def plan_mixture(
    index: int,
    target: int,
    pairing: Pairing,
    *,
    seed: int,
    snr: tuple[float, float],
    interferers_max: int,
) -> MixturePlan:
    """Plan item `index` of the stream: 1 to `interferers_max` interferers, SNR uniform in dB."""
    rng = np.random.default_rng([seed, _ITEM, index])
    interferers = pairing.draw(target, int(rng.integers(1, interferers_max + 1)), rng)
    snr_db = float(rng.uniform(*snr))
    draws = rng.random((1 + len(interferers), 2))
    return MixturePlan(target, interferers, snr_db, tuple((float(u), float(v)) for u, v in draws))


class MixtureDataset(Dataset[Item]):
    """The stream of mixtures as a map-style dataset, for any `DataLoader` (without shuffling).

    Args:
        clips: The clips, checked by `usable`.
        audio: Their sound.
        seconds: Length of a mixture.
        seed: Of the stream.
        snr: Lowest and highest SNR, in dB.
        interferers_max: The most interferers.
        pairing: Who may interfere with whom; by default as `Pairing(clips)`.
        level_of: What measures the levels that an SNR is between; see `trainer.mixing.mix`.
        augmentation: What may be changed; nothing by default.
        length: How many items it claims to have.
        first: The stream's index of item 0: a run resumed after s steps of B mixtures goes on at
            `first = s * B`.

    Raises:
        DataError: If the clips cannot be paired.
    """

    def __init__(
        self,
        clips: ClipTable,
        audio: ClipAudio,
        *,
        seconds: float = 2.0,
        seed: int = 0,
        snr: tuple[float, float] = (-5.0, 5.0),
        interferers_max: int = 1,
        pairing: Pairing | None = None,
        level_of: Callable[[NDArray[Any]], float] = rms,
        augmentation: Augmentation | None = None,
        length: int = 2**31,
        first: int = 0,
    ) -> None:
        self.clips = clips
        self.audio = audio
        self.samples = round(seconds * audio.sample_rate)
        self.first = first
        self._length = length
        self._pairing = pairing or Pairing(clips)
        self._level_of = level_of
        self._augmentation = augmentation or Augmentation()
        self._rounds = Rounds(len(clips), seed, _ROUND)
        self._settings: dict[str, Any] = {
            "seed": seed,
            "snr": snr,
            "interferers_max": interferers_max,
        }

    @classmethod
    def from_config(
        cls,
        clips: ClipTable,
        config: TrainConfig,
        *,
        audio: ClipAudio | None = None,
        first: int = 0,
    ) -> MixtureDataset:
        """The stream that a configuration describes, from item `first` on.

        Args:
            clips: The training clips, with embeddings if these are to keep like from like.
            config: The run's configuration.
            audio: Their sound, if it is there already.
            first: See the class.

        Raises:
            MissingDependencyError: If levels are by loudness, and pyloudnorm is not installed.
        """
        audio = audio or ClipAudio(clips, config.sample_rate)
        return cls(
            clips,
            audio,
            seconds=config.seconds,
            seed=config.seed,
            snr=(config.snr_min, config.snr_max),
            interferers_max=config.interferers_max,
            pairing=Pairing(clips, config.avoid, config.avoid_quantile),
            level_of=_level_of(config),
            augmentation=Augmentation(
                config.augment_gain,
                config.augment_polarity,
                config.augment_speed,
                config.augment_lowpass,
            ),
            first=first,
        )

    def __len__(self) -> int:
        return self._length

    def plan(self, item: int) -> MixturePlan:
        """What item `item` is made of."""
        index = self.first + item
        plan = plan_mixture(index, self._rounds[index], self._pairing, **self._settings)
        if not self._augmentation:
            return plan
        rng = np.random.default_rng([self._settings["seed"], _CHANGES, index])
        sounds = 1 + len(plan.interferers)
        gain_db, changes = self._augmentation.draw(sounds, self.audio.sample_rate, rng)
        return replace(plan, gain_db=gain_db, changes=changes)

    def mixture(
        self,
        plan: MixturePlan,
        out: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> Mixture:
        """The sound of a plan.

        Args:
            plan: What it is made of.
            out: Where to put the mixture and the target, float32 [T] each; see `mix`.

        Raises:
            AudioError: If a recording cannot be decoded.
        """
        rows = (plan.target, *plan.interferers)
        changes = plan.changes or (Change(),) * len(rows)
        target, *others = (
            self._crop(row, place, change)
            for row, place, change in zip(rows, plan.draws, changes, strict=True)
        )
        if plan.gain_db:
            target = target * np.float32(10.0 ** (plan.gain_db / 20.0))
        try:
            return mix(target, others, plan.snr_db, self._level_of, out)
        except AudioError as error:
            names = ", ".join(self.clips.names[row] for row in rows)
            raise AudioError(error.what, where=names) from error

    def _crop(self, clip: int, draws: tuple[float, float], change: Change) -> NDArray[np.float32]:
        """A crop placed by two draws, and changed; float32 [T]."""
        needed = change.needed(self.samples)
        crop = self.audio.crop(clip, self.audio.place(clip, needed, *draws), needed)
        return change.apply(crop, self.samples, self.audio.sample_rate)

    def __getitem__(self, item: int) -> Item:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> Batch:
        """Several items at once, as a `DataLoader` asks for them."""
        sounds = torch.empty(2, len(items), self.samples)
        mixtures, targets = sounds.numpy()
        plans = []
        for row, item in enumerate(items):
            if not 0 <= item < self._length:
                raise IndexError(item)
            plans.append(self.plan(item))
            self.mixture(plans[row], (mixtures[row], targets[row]))
        return Batch(
            {
                "mixture": sounds[0],
                "target": sounds[1],
                "clip": torch.tensor([plan.target for plan in plans]),
                "interferer": torch.tensor([plan.interferers[0] for plan in plans]),
                "snr": torch.tensor([plan.snr_db for plan in plans], dtype=torch.float32),
            }
        )


def _level_of(config: TrainConfig) -> Callable[[NDArray[Any]], float]:
    """What measures a level, by its name in the configuration."""
    if config.level == "loudness":
        from trainer.loudness import Loudness

        return Loudness(config.sample_rate, config.seconds)
    return rms
