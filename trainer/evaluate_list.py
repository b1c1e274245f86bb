"""Measure a run on a list of the field, by the list's own protocol; see `lists`.

Each mixture is separated whole, at the separator's sample rate: scores at another rate than a
paper's are not the paper's. Mixtures that are not files are made as AudioSep and DCASE make them:
the noises at the target's energy, shifted by the SNR, everything scaled down to a peak of 0.9 where
it would clip, and cut to the shorter recording.

Letters: T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cache_store.clips import ClipReject
from cache_store.clips.decode import decode
from cache_store.console import progress
from cache_store.errors import AudioError, DataError
from trainer.clap_score import SCORES, ClapScorer
from trainer.eval_settings import EvalSettings
from trainer.evaluate import BSS_METRICS, METRICS, Evaluation, load_run_ears, sounds_title
from trainer.intervals import Interval, bootstrap_mean
from trainer.leak import level_db
from trainer.lists import EvalList, ListRow, read_list
from trainer.metrics import all_metrics, bss_metrics
from trainer.mixing import mix
from trainer.precision import set_precision
from trainer.queries import TextQueries
from trainer.run import RunFolder, load_model
from trainer.sounds import Sounds, choose, write_sounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from trainer.models import SeparatorModel


def evaluate_list(run: str | Path, settings: EvalSettings) -> tuple[Evaluation, EvalList]:
    """Measure a run on `settings.list`, whose audio lies in `settings.audio`.

    Returns:
        What was measured, and the list as far as its audio is there.

    Raises:
        DataError: The run, the list or the audio cannot be used, or a query is not known.
        SpaceMismatchError: `space` is not of the run's space.
        UsageError: The audio is no folder, or there is no such column to ask with.
    """
    from cache_store.spaces.base import pick_device

    column = "labels" if settings.queries == "label" else "caption"
    listed = read_list(settings.list, settings.audio, column)
    model, record = load_model(RunFolder(Path(run)), settings.checkpoint, space=settings.space)
    ears = load_run_ears(record, settings)
    scorer = ClapScorer(ears, record.sample_rate) if ears is not None else None
    texts = list(dict.fromkeys(row.query for row in listed.rows))
    spec = settings.space or record.space_spec
    vectors = TextQueries(
        record.space,
        spec=spec,
        space_name=settings.space_name,
        cache=record.cache["path"],
        device=settings.device,
        space=None if spec.startswith("stored:") else ears,
    ).embed(texts)
    conditions = dict(zip(texts, torch.from_numpy(vectors), strict=True))
    model = model.to(pick_device(settings.device))
    set_precision(model, settings.precision)
    rows: list[dict[str, object]] = []
    used: list[ListRow] = []
    rejects: list[ClipReject] = []
    with progress("evaluate", len(listed.rows), "mixtures") as advance:
        for row in listed.rows:
            try:
                target, mixture = load_row(row, record.sample_rate, settings.snr)
            except AudioError as error:
                rejects.append(ClipReject(str(row.target), error.message))
                advance(1)
                continue
            condition = conditions[row.query]
            estimate = _separate(model, mixture, condition)
            scores = _score(estimate, target, mixture, condition, settings, scorer)
            rows.append(_row(row, scores, settings))
            used.append(row)
            advance(1)
    if not rows:
        raise DataError(
            "no mixture of the list can be used", where=settings.audio, found=rejects[0].reason
        )
    if settings.sounds is not None:
        chosen = choose(
            [float(str(row["sdri"])) for row in rows], settings.sounds_count, worst=settings.worst
        )

        def again() -> Iterator[Sounds]:
            # Separated once more: a list's estimates together may not fit into memory.
            for number in chosen:
                target, mixture = load_row(used[number], record.sample_rate, settings.snr)
                estimate = _separate(model, mixture, conditions[used[number].query])
                yield Sounds(number, rows[number], mixture, target, estimate)

        write_sounds(settings.sounds, again(), record.sample_rate, sounds_title(settings, record))
    average = settings.average or listed.average
    names = (*METRICS, "level", *BSS_METRICS, *SCORES)
    means = {
        name: average_of(rows, name, average, settings.seed) for name in names if name in rows[0]
    }
    done = Evaluation(tuple(rows), means, {}, tuple(rejects), record.strategy)
    return done, listed


def load_row(
    row: ListRow, sample_rate: int, snr: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Target and mixture of a row, float32 [T] each.

    Args:
        row: Of a list.
        sample_rate: To bring both to, in Hz.
        snr: In dB, where the row says nothing.

    Raises:
        AudioError: A recording cannot be decoded, or is silent.
    """
    target = decode(row.target, sample_rate)
    if row.mixture is not None:
        mixture = decode(row.mixture, sample_rate)
        length = min(len(target), len(mixture))
        return target[:length], mixture[:length]
    noises = [decode(path, sample_rate) for path in row.noises]
    length = min(len(target), *(len(noise) for noise in noises))
    stacked = np.stack([noise[:length] for noise in noises])
    mixed = mix(target[:length], stacked, snr if row.snr is None else row.snr)
    return mixed.target, mixed.mixture


def average_of(
    rows: Sequence[Mapping[str, object]], metric: str, average: str, seed: int = 0
) -> Interval:
    """The average of a metric by a list's rule, with a 95 % interval.

    Args:
        rows: With `query` (the class) and `target`.
        metric: A column.
        average: `mean` over rows, or the mean over classes of their means or medians; the interval
            is over target recordings, or over classes.
        seed: Of the resampling.
    """
    values = [float(str(row[metric])) for row in rows]
    if average == "mean":
        return bootstrap_mean(values, [str(row["target"]) for row in rows], seed=seed)
    classes: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        classes.setdefault(str(row["query"]), []).append(value)
    middle = np.mean if average == "class-means" else np.median
    return bootstrap_mean([float(middle(own)) for own in classes.values()], seed=seed)


def _separate(
    model: SeparatorModel, mixture: NDArray[np.float32], condition: torch.Tensor
) -> NDArray[np.float32]:
    device = next(model.parameters()).device
    heard = torch.from_numpy(mixture)[None]
    with torch.no_grad(), model.at_precision():
        estimate = model(heard.to(device), condition[None].to(device)).cpu()
    found: NDArray[np.float32] = estimate[0].numpy()
    return found


def _score(
    estimate: NDArray[np.float32],
    target: NDArray[np.float32],
    mixture: NDArray[np.float32],
    condition: torch.Tensor,
    settings: EvalSettings,
    scorer: ClapScorer | None,
) -> dict[str, float]:
    made, wanted, heard = (torch.from_numpy(wave)[None] for wave in (estimate, target, mixture))
    scores = all_metrics(made, wanted, heard)
    scores["level"] = level_db(made, heard)
    if settings.bss:
        scores |= bss_metrics(made, wanted, heard)
    if scorer is not None:
        scores |= scorer.score(made, condition[None], mixtures=heard, targets=wanted)
    return {name: float(value[0]) for name, value in scores.items()}


def _row(row: ListRow, scores: Mapping[str, float], settings: EvalSettings) -> dict[str, object]:
    noise = row.mixture.name if row.mixture is not None else " ".join(n.name for n in row.noises)
    snr = row.snr if row.snr is not None else settings.snr if row.mixture is None else ""
    return {
        "mixture": row.name,
        "target": row.target.name,
        "interferer": noise,
        "label": "",
        "query_kind": settings.queries,
        "query": row.query,
        "snr_db": snr,
        **{name: round(value, 6) for name, value in scores.items()},
    }
