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
from trainer.clap_score import SCORES, ClapScorer, load_ears
from trainer.clip_audio import ClipAudio
from trainer.conditioning.negative import negated
from trainer.embeddings import clip_embeddings
from trainer.eval_settings import EvalSettings
from trainer.held_out import plan_mixtures
from trainer.intervals import Interval, bootstrap_mean
from trainer.leak import absent_clips, kinds_of, level_db
from trainer.metrics import all_metrics, bss_metrics
from trainer.places import check_file
from trainer.precision import set_precision
from trainer.queries import TextQueries, column_texts, is_model
from trainer.run import RunFolder, RunRecord, load_model
from trainer.sounds import Sounds, choose, write_sounds
from trainer.validate import HeldOut, render_held_out, separate_all

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from cache_store.spaces.base import Space

METRICS = ("sdri", "si_sdri", "sdr", "si_sdr")
BSS_METRICS = ("bss_sdri", "bss_sdr")
LEVELS = ("level", "level_absent")
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

    model, record = load_model(RunFolder(Path(run)), settings.checkpoint, space=settings.space)
    ears = load_run_ears(record, settings)
    table = read_clips(
        settings.audio,
        label_from_folder=settings.label_from_folder,
        space_name=settings.space_name or None,
        embeddings=settings.queries == "audio",
    ).where(settings.where)
    clips, rejects = usable(table, sample_rate=record.sample_rate)
    queries, vectors = _queries(clips, record, settings, ears)
    held_out = _mixtures(clips, record, settings, queries, vectors)
    model = model.to(pick_device(settings.device))
    set_precision(model, settings.precision)
    conditions = held_out.texts
    if settings.say_not:
        unwanted = vectors[[plan.interferer for plan in held_out.plans]]
        conditions = negated(
            conditions, unwanted, record.negative, takes_negative=model.takes_negative
        )
    with model.at_precision():
        estimates = separate_all(model, held_out.mixtures, conditions, _BATCH)
    scores = all_metrics(estimates, held_out.targets, held_out.mixtures)
    scores["level"] = level_db(estimates, held_out.mixtures)
    absent = absent_clips(held_out.plans, kinds_of(clips), queries, settings.seed)
    if absent is not None:
        with model.at_precision():
            leaked = separate_all(model, held_out.mixtures, vectors[absent], _BATCH)
        scores["level_absent"] = level_db(leaked, held_out.mixtures)
    if settings.bss:
        scores |= bss_metrics(estimates, held_out.targets, held_out.mixtures)
    if ears is not None:
        scores |= ClapScorer(ears, record.sample_rate).score(
            estimates,
            held_out.texts if settings.queries != "audio" else None,
            mixtures=held_out.mixtures,
            targets=held_out.targets,
        )
    columns = {name: values.double().numpy() for name, values in scores.items()}
    rows = tuple(_rows(clips, held_out, columns))
    if absent is not None:
        rows = tuple(
            {**row, "absent_query": queries[clip]} for row, clip in zip(rows, absent, strict=True)
        )
    if settings.sounds is not None:
        _write_sounds(settings, record, rows, held_out, estimates)
    targets = [plan.target for plan in held_out.plans]
    means = {
        name: bootstrap_mean(columns[name].tolist(), targets, seed=settings.seed)
        for name in (*METRICS, *LEVELS, *BSS_METRICS, *SCORES)
        if name in columns
    }
    return Evaluation(rows, means, _classes(rows), tuple(rejects), record.strategy)


def load_run_ears(record: RunRecord, settings: EvalSettings) -> Space | None:
    """The model that judges a run's estimates, None if that is not asked for; see `load_ears`."""
    if not settings.clap_score:
        return None
    return load_ears(
        record.space,
        settings.space or record.space_spec,
        space_name=settings.space_name,
        device=settings.device,
    )


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


def _queries(
    clips: ClipTable, record: RunRecord, settings: EvalSettings, ears: Space | None
) -> tuple[list[str], Tensor]:
    """The query of every clip, and its embedding [n, D], whatever kind of query it is."""
    if settings.queries == "audio":
        queries = list(clips.names)
        vectors = _audio_embeddings(clips, record, settings, ears)
    else:
        queries = column_texts(clips.columns, settings.queries, clips.source)
        spec = settings.space or record.space_spec
        vectors = TextQueries(
            record.space,
            spec=spec,
            space_name=settings.space_name,
            cache=record.cache["path"],
            device=settings.device,
            space=None if spec.startswith("stored:") else ears,
        ).embed(queries)
    return queries, torch.from_numpy(np.ascontiguousarray(vectors))


def _mixtures(
    clips: ClipTable,
    record: RunRecord,
    settings: EvalSettings,
    queries: Sequence[str],
    vectors: Tensor,
) -> HeldOut:
    """The mixtures, with the condition of each in `texts`, whatever kind of query it is."""
    audio = ClipAudio(clips, record.sample_rate)
    plans = plan_mixtures(
        clips,
        settings.mixtures,
        settings.seed,
        settings.snr,
        audio=audio,
        seconds=settings.seconds or record.seconds,
    )
    return render_held_out(plans, audio, settings.queries, queries, vectors, vectors)


def _audio_embeddings(
    clips: ClipTable, record: RunRecord, settings: EvalSettings, ears: Space | None
) -> NDArray[np.float32]:
    from cache_store.spaces import load_space

    spec = settings.space or (record.space.name if is_model(record.space) else "")
    space = ears
    if clips.embeddings is None and space is None and spec:
        space = load_space(spec, device=settings.device, space_name=settings.space_name or None)
    return clip_embeddings(clips, expected=record.space, space=space)


def _write_sounds(
    settings: EvalSettings,
    record: RunRecord,
    rows: Sequence[Mapping[str, object]],
    held_out: HeldOut,
    estimates: Tensor,
) -> None:
    assert settings.sounds is not None
    scores = [float(str(row["sdri"])) for row in rows]
    sounds = (
        Sounds(
            number,
            rows[number],
            held_out.mixtures[number].numpy(),
            held_out.targets[number].numpy(),
            estimates[number].numpy(),
        )
        for number in choose(scores, settings.sounds_count, worst=settings.worst)
    )
    write_sounds(settings.sounds, sounds, record.sample_rate, sounds_title(settings, record))


def sounds_title(settings: EvalSettings, record: RunRecord) -> str:
    """What a page of sounds is called."""
    which = "The worst mixtures" if settings.worst else "Mixtures"
    return f"{which} of {Path(settings.list or settings.audio).name}, strategy {record.strategy}"


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
