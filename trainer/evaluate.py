"""Measure a run on held-out mixtures that are the same for every run: one row a mixture.

Mixtures are drawn from the clips, the seed and the length alone, so that two runs can be compared
row by row. The same run, clips and flags give the same numbers.

Letters: M mixtures, D embedding size.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cache_store.clips import ClipReject, ClipTable, read_clips, usable
from cache_store.errors import storage_errors
from cache_store.files import replace_file
from trainer.clip_audio import ClipAudio
from trainer.embeddings import clip_embeddings
from trainer.eval_settings import EvalSettings
from trainer.held_out import plan_mixtures
from trainer.intervals import Interval, bootstrap_mean
from trainer.metrics import all_metrics, bss_metrics
from trainer.places import check_file
from trainer.queries import TextQueries, column_texts, is_model
from trainer.run import RunFolder, RunRecord, load_model
from trainer.sounds import write_sounds
from trainer.validate import HeldOut, render_held_out, separate_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cache_store.manifest import SpaceRecord

METRICS = ("sdri", "si_sdri", "sdr", "si_sdr")
BSS_METRICS = ("bss_sdri", "bss_sdr")
SUCCESS = 1.0  # dB of SDRi from which a separation counts as one
_BATCH = 16


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        rows: One a mixture: names, query, SNR and metrics in dB.
        means: Mean and 95 % interval of each metric; mixtures of one target are drawn together.
        classes: Mean of each metric by the target's label; empty where labels are not known.
        rejects: Clips that were left out.
        strategy: Of the run.
    """

    rows: tuple[Mapping[str, object], ...]
    means: Mapping[str, Interval]
    classes: Mapping[str, Mapping[str, float]]
    rejects: tuple[ClipReject, ...]
    strategy: str

    @property
    def success(self) -> float:
        """The share of mixtures with an SDRi of at least 1 dB (`SUCCESS`)."""
        return float(np.mean([float(str(row["sdri"])) >= SUCCESS for row in self.rows]))


def evaluate(run: str | Path, settings: EvalSettings) -> Evaluation:
    """Measure a run.

    Raises:
        DataError: The run, its checkpoint or the audio cannot be used, or a query is not known.
        SpaceMismatchError: The audio's embeddings or `space` are not of the run's space.
        UsageError: There is no such column to ask with.
        StorageError: The sounds cannot be written.
    """
    from cache_store.spaces.base import pick_device

    model, record = load_model(RunFolder(Path(run)), settings.checkpoint)
    table = read_clips(
        settings.audio,
        label_from_folder=settings.label_from_folder,
        space_name=settings.space_name or None,
        embeddings=settings.queries == "audio",
    ).where(settings.where)
    clips, rejects = usable(table, sample_rate=record.sample_rate)
    held_out = _mixtures(clips, record, settings)
    model = model.to(pick_device(settings.device))
    estimates = separate_all(model, held_out.mixtures, held_out.texts, _BATCH)
    if settings.sounds is not None:
        write_sounds(
            settings.sounds,
            held_out,
            estimates,
            sample_rate=record.sample_rate,
            count=settings.sounds_count,
        )
    scores = all_metrics(estimates, held_out.targets, held_out.mixtures)
    if settings.bss:
        scores |= bss_metrics(estimates, held_out.targets, held_out.mixtures)
    columns = {name: values.double().numpy() for name, values in scores.items()}
    rows = tuple(_rows(clips, held_out, columns))
    targets = [plan.target for plan in held_out.plans]
    means = {
        name: bootstrap_mean(columns[name].tolist(), targets, seed=settings.seed)
        for name in (*METRICS, *(BSS_METRICS if settings.bss else ()))
    }
    return Evaluation(rows, means, _classes(rows), tuple(rejects), record.strategy)


def write_results(path: Path, evaluation: Evaluation) -> None:
    """Write the rows as CSV, whole or not at all.

    Raises:
        UsageError: It is a folder.
        StorageError: The place cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(evaluation.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(evaluation.rows)
    check_file(path)
    with storage_errors(path):
        replace_file(path, text.getvalue().encode())


def _mixtures(clips: ClipTable, record: RunRecord, settings: EvalSettings) -> HeldOut:
    """The mixtures, with the condition of each in `texts`, whatever kind of query it is."""
    if settings.queries == "audio":
        queries = list(clips.names)
        vectors = _audio_embeddings(clips, record.space, settings)
    else:
        queries = column_texts(clips.columns, settings.queries, clips.source)
        vectors = TextQueries(
            record.space,
            spec=settings.space or record.space_spec,
            space_name=settings.space_name,
            cache=record.cache["path"],
            device=settings.device,
        ).embed(queries)
    audio = ClipAudio(clips, record.sample_rate)
    plans = plan_mixtures(
        clips,
        settings.mixtures,
        settings.seed,
        settings.snr,
        audio=audio,
        seconds=settings.seconds or record.seconds,
    )
    conditions = torch.from_numpy(np.ascontiguousarray(vectors))
    return render_held_out(plans, audio, settings.queries, queries, conditions, conditions)


def _audio_embeddings(
    clips: ClipTable, record: SpaceRecord, settings: EvalSettings
) -> NDArray[np.float32]:
    from cache_store.spaces import load_space

    spec = settings.space or (record.name if is_model(record) else "")
    space = None
    if clips.embeddings is None and spec:
        space = load_space(spec, device=settings.device, space_name=settings.space_name or None)
    return clip_embeddings(clips, expected=record, space=space)


def _rows(
    clips: ClipTable, held_out: HeldOut, columns: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, object]]:
    labels = clips.label or [None] * len(clips)
    return [
        {
            "mixture": index,
            "target": clips.names[plan.target],
            "interferer": clips.names[plan.interferer],
            "label": labels[plan.target] or "",
            "query_kind": held_out.query_kind,
            "query": held_out.queries[index],
            "snr_db": round(plan.snr_db, 4),
            **{name: round(float(values[index]), 6) for name, values in columns.items()},
        }
        for index, plan in enumerate(held_out.plans)
    ]


def _classes(rows: Sequence[Mapping[str, object]]) -> dict[str, dict[str, float]]:
    """Mean of each metric by label, and how many mixtures it is the mean of."""
    labels = sorted({str(row["label"]) for row in rows} - {""})
    table = {}
    for label in labels:
        own = [row for row in rows if row["label"] == label]
        means = {name: float(np.mean([float(str(row[name])) for row in own])) for name in METRICS}
        table[label] = {**means, "mixtures": float(len(own))}
    return table
