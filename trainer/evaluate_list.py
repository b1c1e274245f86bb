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
from trainer.eval_settings import EvalSettings
from trainer.evaluate import BSS_METRICS, METRICS, Evaluation
from trainer.intervals import Interval, bootstrap_mean
from trainer.lists import EvalList, ListRow, read_list
from trainer.metrics import all_metrics, bss_metrics
from trainer.mixing import mix
from trainer.queries import TextQueries
from trainer.run import RunFolder, load_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


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
    model, record = load_model(RunFolder(Path(run)), settings.checkpoint)
    texts = list(dict.fromkeys(row.query for row in listed.rows))
    vectors = TextQueries(
        record.space,
        spec=settings.space or record.space_spec,
        space_name=settings.space_name,
        cache=record.cache["path"],
        device=settings.device,
    ).embed(texts)
    conditions = dict(zip(texts, torch.from_numpy(vectors), strict=True))
    model = model.to(pick_device(settings.device))
    rows: list[dict[str, object]] = []
    rejects: list[ClipReject] = []
    with progress("evaluate", len(listed.rows), "mixtures") as advance:
        for row in listed.rows:
            try:
                target, mixture = load_row(row, record.sample_rate, settings.snr)
            except AudioError as error:
                rejects.append(ClipReject(str(row.target), error.message))
                advance(1)
                continue
            scores = _score(model, target, mixture, conditions[row.query], settings.bss)
            rows.append(_row(row, scores, settings))
            advance(1)
    if not rows:
        raise DataError(
            "no mixture of the list can be used", where=settings.audio, found=rejects[0].reason
        )
    average = settings.average or listed.average
    names = (*METRICS, *(BSS_METRICS if settings.bss else ()))
    means = {name: average_of(rows, name, average, settings.seed) for name in names}
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


def _score(
    model: nn.Module,
    target: NDArray[np.float32],
    mixture: NDArray[np.float32],
    condition: torch.Tensor,
    bss: bool,
) -> dict[str, float]:
    device = next(model.parameters()).device
    heard = torch.from_numpy(mixture)[None]
    with torch.no_grad():
        estimate = model(heard.to(device), condition[None].to(device)).cpu()
    wanted = torch.from_numpy(target)[None]
    scores = all_metrics(estimate, wanted, heard)
    if bss:
        scores |= bss_metrics(estimate, wanted, heard)
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
