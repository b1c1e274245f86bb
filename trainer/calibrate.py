"""Find out, on held-out mixtures, how evidence and the presence of a sound go together.

Each mixture of two clips is asked for its target, which is there, and for a clip of another label
than both, which is not. The clips are divided into two halves, label by label: the regressions are
fitted to mixtures of the one and judged on mixtures of the other, so what is reported is how far
off they are on recordings that they never saw. Half of what is asked for is there: where a user
asks for absent sounds more often, the figure is too high. What is reported: `calibration_error`.

Letters: n judgements, M mixtures, T samples.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cache_store.clips import ClipReject, ClipTable, read_clips, usable
from cache_store.console import progress
from cache_store.errors import ConfigError, DataError
from trainer.calibration import Calibration, Logistic, fit_logistic, write_calibration
from trainer.calibration_error import errors
from trainer.checkpoint import checkpoint_hash
from trainer.clip_audio import ClipAudio
from trainer.held_out import HeldOutMixture, plan_mixtures
from trainer.judging import Judge
from trainer.leak import absent_clips, kinds_of
from trainer.queries import column_texts
from trainer.run import RunFolder, checkpoint_path
from trainer.separate import Separator
from trainer.separation import Piece
from trainer.validate import HeldOut, render_held_out, separate_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 20  # mixtures: below it figures mean nothing
_BATCH = 16
_HALVES = 0xCA1


@dataclass(frozen=True)
class CalibrateSettings:
    """What to calibrate on.

    Attributes:
        audio: A folder or manifest of recordings that were not trained on.
        where: Which of its clips, an expression; "" for all.
        queries: `caption` or `label`.
        mixtures: How many, half of them to fit and half to judge.
        seconds: Length of a mixture; None for that of the training.
        snr_db: Levels of the target are drawn from minus to plus this, in dB.
        seed: Of the halves and the mixtures.
        label_from_folder: Whether a clip's parent folder is its label.
        space: A model or table for the queries; "" for the run's own.
        space_name: Where stored embeddings came from, if their file does not say.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: With every fault.
    """

    audio: str
    where: str = ""
    queries: str = "caption"
    mixtures: int = 400
    seconds: float | None = None
    snr_db: float = 10.0
    seed: int = 0
    label_from_folder: bool = False
    space: str = ""
    space_name: str = ""
    checkpoint: str = "best"
    device: str = "auto"

    def __post_init__(self) -> None:
        faults = []
        if self.queries not in ("caption", "label"):
            faults.append(f"`queries` must be caption or label, got {self.queries!r}")
        if self.mixtures < 2 * FEWEST:
            faults.append(f"`mixtures` must be at least {2 * FEWEST}, got {self.mixtures}")
        if self.seconds is not None and not 0.1 <= self.seconds <= 600:
            faults.append(f"`seconds` must be from 0.1 to 600, got {self.seconds}")
        if not 0 <= self.snr_db <= 100:
            faults.append(f"`snr_db` must be from 0 to 100, got {self.snr_db}")
        if self.seed < 0:
            faults.append(f"`seed` must be at least 0, got {self.seed}")
        if faults:
            raise ConfigError(faults)


@dataclass(frozen=True)
class Calibrated:
    """What was found.

    Attributes:
        path: The file that it is in.
        calibration: The regressions, each with its error on the half that it was not fitted to.
        rejects: Clips that were left out.
        deaf: Why sound was not judged, "" if it was.
    """

    path: Path
    calibration: Calibration
    rejects: tuple[ClipReject, ...]
    deaf: str


def calibrate(run: str | Path, settings: CalibrateSettings) -> Calibrated:
    """Calibrate a run, and write that into its folder.

    Raises:
        DataError: The run or the audio cannot be used, a query is not known, or there are too few
            labels to ask for what is not there.
        UsageError: There is no such column to ask with.
        StorageError: The run's folder cannot be written.
    """
    folder = RunFolder(Path(run))
    separator = Separator.load(
        run,
        checkpoint=settings.checkpoint,
        space=settings.space,
        space_name=settings.space_name,
        device=settings.device,
    )
    table = read_clips(
        settings.audio,
        label_from_folder=settings.label_from_folder,
        space_name=settings.space_name or None,
        embeddings=False,
    ).where(settings.where)
    clips, rejects = usable(table, sample_rate=separator.record.sample_rate)
    halves = [
        clips.select(rows) for rows in split_in_halves(kinds_of(clips), clips.names, settings)
    ]
    seconds = settings.seconds or separator.record.seconds
    judge = Judge(separator.record, separator.queries, None, seconds)
    separator.judge = judge
    fitted, judged = (_judgements(separator, half, seconds, settings) for half in halves)
    share = _fit_and_judge(fitted, judged, slice(1))
    full = _fit_and_judge(fitted, judged, slice(None)) if fitted.features.shape[1] > 1 else None
    calibration = Calibration(
        window_seconds=seconds,
        checkpoint=checkpoint_hash(checkpoint_path(folder, settings.checkpoint)),
        space=separator.record.space.fingerprint,
        share=share,
        full=full,
        made_from={
            "audio": settings.audio,
            "where": settings.where,
            "queries": settings.queries,
            "mixtures": settings.mixtures,
            "snr_db": settings.snr_db,
            "seed": settings.seed,
        },
    )
    write_calibration(folder.calibration, calibration)
    return Calibrated(folder.calibration, calibration, tuple(rejects), judge.deaf)


@dataclass(frozen=True)
class Judgements:
    """Evidence, and whether what was asked for was there.

    Attributes:
        features: Of each judgement, see `Verdict.features`. `[n, features]`
        present: `[n]`
        targets: The target recording of each judgement's mixture. `[n]`
    """

    features: NDArray[np.float64]
    present: NDArray[np.bool_]
    targets: tuple[str, ...]


def split_in_halves(
    kinds: Sequence[Hashable | None], names: Sequence[str], settings: CalibrateSettings
) -> tuple[list[int], list[int]]:
    """Rows of clips in two halves, recordings of each kind in both; a recording is in one.

    Raises:
        DataError: A half has fewer than three kinds: two to mix, and one to ask for in vain.
    """
    rng = np.random.default_rng([settings.seed, _HALVES])
    halves: tuple[list[int], list[int]] = ([], [])
    by_kind: dict[Hashable | None, dict[str, list[int]]] = {}
    for row, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        by_kind.setdefault(kind, {}).setdefault(name, []).append(row)
    turn = 0
    for recordings in by_kind.values():
        groups = list(recordings.values())
        for number in rng.permutation(len(groups)):
            halves[turn % 2].extend(groups[number])
            turn += 1
    for half in halves:
        found = {kinds[row] for row in half} - {None}
        if len(found) < 3:
            raise DataError(
                "too few kinds of sound to ask for one that is not there",
                where=settings.audio,
                expected="clips of at least three labels or captions, two or more of each",
                found=f"{len(found)} in one half",
            )
    return sorted(halves[0]), sorted(halves[1])


def _judgements(
    separator: Separator, clips: ClipTable, seconds: float, settings: CalibrateSettings
) -> Judgements:
    """Mix the clips of one half, ask for what is there and for what is not, and gather evidence."""
    queries = column_texts(clips.columns, settings.queries, clips.source)
    conditions = torch.from_numpy(np.ascontiguousarray(separator.queries.embed(queries)))
    audio = ClipAudio(clips, separator.record.sample_rate)
    snr = (-settings.snr_db, settings.snr_db)
    count = settings.mixtures // 2
    plans = plan_mixtures(clips, count, settings.seed, snr, audio=audio, seconds=seconds)
    absent = absent_clips(plans, kinds_of(clips), queries, settings.seed)
    if absent is None:
        raise DataError(
            "too few kinds of sound to ask for one that is not there", where=settings.audio
        )
    held_out = render_held_out(plans, audio, settings.queries, queries, conditions, conditions)
    asked = {True: _targets(plans), False: absent}
    found, present = [], []
    with progress("judge", 2 * count, "estimates") as advance:
        for is_there, rows in asked.items():
            words = [queries[row] for row in rows]
            for features in _features(separator, held_out, conditions[rows], words):
                found.append(features)
                present.append(is_there)
                advance()
    targets = tuple(clips.names[row] for row in _targets(plans))
    return Judgements(np.array(found, np.float64), np.array(present), 2 * targets)


def _features(
    separator: Separator, held_out: HeldOut, conditions: torch.Tensor, queries: Sequence[str]
) -> list[tuple[float, ...]]:
    estimates = separate_all(separator.model, held_out.mixtures, conditions, _BATCH)
    found = []
    for mixture, estimate, query in zip(held_out.mixtures, estimates, queries, strict=True):
        evidence = separator.judge.evidence(1)
        evidence.add(Piece(mixture[None].numpy(), estimate[None, None].numpy()))
        found.append(separator.judge.verdicts(evidence, [query])[0].features)
    return found


def _fit_and_judge(fitted: Judgements, judged: Judgements, columns: slice) -> Logistic:
    regression = fit_logistic(fitted.features[:, columns], fitted.present)
    found = regression.probability(judged.features[:, columns])
    return replace(regression, error=errors(found, judged.present, judged.targets))


def _targets(plans: Sequence[HeldOutMixture]) -> list[int]:
    return [plan.target for plan in plans]
