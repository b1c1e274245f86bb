"""Embed a cache's captions: one data shard for every captions shard.

A captions shard is done when a data shard names it as its source, so a run that was killed goes on
where it stopped: committed shards are found again, checked and taken over, never computed twice.
One manifest at the end makes all of them visible.

Rows are bit-equal whatever the number of workers: batches are cut within a shard, and on the CPU
every process computes with the same number of threads and in the same precision. The precision is
chosen once a run, by the device, and kept with the file and the step: rows of different precisions
may stand in one cache, since they agree to a cosine of about 0.9999, but never unsaid. Memory holds
one shard a worker.

Letters: N rows, D embedding size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import EmptyInputError, MismatchError
from pipeline.embed_stage import EmbedStage
from pipeline.engines import Engine, available_cores, open_engine
from pipeline.progress import Progress, Tick, quiet
from pipeline.spaces import absolute_spec, choose_spec, load_matching

if TYPE_CHECKING:
    from cache_store.manifest import FileEntry, Manifest
    from cache_store.spaces import Space
    from cache_store.writer import CacheWriter

DEFAULT_DTYPE = "float16"  # half the disk; the rounding moves a cosine by less than 1e-3
MOST_WORKERS = 4  # chosen unasked: each holds a whole model
SECONDS_WORTH_A_WORKER = 10.0  # of work: below, starting a process takes longer than it saves
_PROBE_ROWS = 64  # captions that are timed to know how much work there is


@dataclass(frozen=True)
class EmbedReport:
    """What an embedding run did.

    Attributes:
        embedded: Captions embedded by this run.
        shards: Data shards that this run computed.
        resumed: Data shards taken over from a run that was stopped.
        cut: Captions longer than the model's text limit, which it cut.
        cut_example: The first of them, None if there is none.
        text_limit: The model's text limit in tokens, None if it has none.
        total: Embedded captions in the cache afterwards.
        space: The space's name.
        fingerprint: The space's fingerprint.
        dim: D.
        dtype: How the embeddings are stored.
        device: Where it computed.
        precision: In which it computed, "" where embeddings were only looked up.
        precisions: All in which the cache's rows were computed, imported ones left out.
        workers: Processes that worked.
        seconds: The time that computing took.
    """

    embedded: int
    shards: int
    resumed: int
    cut: int
    cut_example: str | None
    text_limit: int | None
    total: int
    space: str
    fingerprint: str
    dim: int
    dtype: str
    device: str
    precision: str
    precisions: tuple[str, ...]
    workers: int
    seconds: float


def embed_cache(
    cache: str | Path,
    *,
    space: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    threads: int = 1,
    precision: str = "auto",
    space_name: str | None = None,
    engine: str = "local",
    address: str | None = None,
    progress: Progress = quiet,
) -> EmbedReport:
    """Embed every captions shard that has no data shard yet.

    Args:
        cache: The cache's folder.
        space: `tiny`, `laion:CHECKPOINT`, `hf:ID_OR_FOLDER` or `stored:FILE.parquet`; by default
            the space that the cache was embedded with before, else `tiny`.
        dtype: `float16` or `float32`; by default the cache's, else `float16`.
        batch_size: Texts in a batch, None for what suits the device.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        workers: Processes; None chooses by the work, the CPU cores and the device.
        threads: CPU threads a process. The bits of the rows depend on it, not on `workers`.
        precision: In which to compute: `float32`, `bfloat16`, or `auto` for bfloat16 where the
            device has matrix instructions for it and the model can.
        space_name: For a stored table whose file does not name its space.
        engine: `local` or `ray`; the rows are the same.
        address: A running Ray cluster, None to start a Ray for this run.
        progress: How to show it.

    Raises:
        EmptyInputError: The cache has no captions.
        SpaceMismatchError: The cache was embedded with another space.
        UsageError: The space does not have that precision.
        MismatchError: The cache's embeddings have another dtype.
        LeaseHeldError: Another process writes to the cache.
    """
    from cache_store.writer import open_writer

    with open_writer(cache, create=False) as writer, open_engine(engine, address) as crew:
        manifest = writer.current
        if not (manifest.captions or manifest.data):
            raise EmptyInputError(
                "the cache has no captions",
                where=cache,
                hint=f"Run `lqtse-cache import {cache} --captions FILE` "
                f"or `lqtse-cache generate {cache} -n 300`",
            )
        kept_dtype = _choose_dtype(dtype, manifest.dtype)
        spec = choose_spec(space, manifest.space)
        place = crew.device(device)
        with cpu_threads(threads):
            model = load_matching(
                spec,
                manifest.space,
                device=crew.home(place),
                batch_size=batch_size,
                space_name=space_name,
                precision=_choose_precision(precision, spec, place),
            )
            done = {entry.source for entry in manifest.data if entry.source}
            missing = [entry for entry in manifest.captions if entry.sha256 not in done]
            found = writer.unlisted_data(model.record, kept_dtype) if missing else {}
            todo = [entry for entry in missing if entry.sha256 not in found]
            stage = EmbedStage(
                cache=str(writer.path.absolute()),
                spec=absolute_spec(spec),
                space=model.record,
                device=place,
                batch_size=batch_size,
                space_name=space_name,
                dtype=kept_dtype,
                threads=threads,
                precision=model.precision or "float32",
            )
            staff = workers or crew.room(place, threads)
            staff = staff or _choose_workers(writer, model, todo, place)
            staff = min(staff, max(len(todo), 1))
            begin = time.monotonic()
            with progress(sum(entry.rows for entry in todo)) as tick:
                run = _compute(crew, model, stage, todo, staff, tick)
            seconds = time.monotonic() - begin
        new = [found.get(entry.sha256) or run.files[entry.sha256] for entry in missing]
        precisions = _precisions(writer, new) if model.precision else {}
        report = EmbedReport(
            embedded=sum(entry.rows for entry in todo),
            shards=len(todo),
            resumed=len(missing) - len(todo),
            cut=run.cut,
            cut_example=run.cut_example,
            text_limit=model.text_limit,
            total=sum(entry.rows for entry in (*manifest.data, *new)),
            space=model.name,
            fingerprint=model.fingerprint,
            dim=model.dim,
            dtype=kept_dtype,
            device=place,
            precision=model.precision,
            precisions=tuple(sorted({*precisions, *_earlier_precisions(manifest)})),
            workers=staff,
            seconds=seconds,
        )
        if new:
            writer.publish(step=_step(report, stage, precisions), data=(*manifest.data, *new))
        return report


@dataclass
class _Computed:
    """What the workers brought: the data shard of each captions shard, by the latter's hash."""

    files: dict[str, FileEntry] = field(default_factory=dict)
    cut: int = 0
    cut_example: str | None = None


def _compute(
    crew: Engine,
    model: Space,
    stage: EmbedStage,
    todo: list[FileEntry],
    workers: int,
    tick: Tick,
) -> _Computed:
    done = _Computed()
    results = crew.map_shards(
        stage, todo, workers=workers, tick=tick, prepared=stage.with_model(model)
    )
    for number, result in results:
        done.files[todo[number].sha256] = result.file
        done.cut += result.cut
        done.cut_example = done.cut_example or result.cut_example
    return done


def _choose_dtype(wanted: str | None, held: str | None) -> str:
    if wanted is not None and held is not None and wanted != held:
        raise MismatchError(
            "the cache holds embeddings of another type", expected=held, found=wanted
        )
    return wanted or held or DEFAULT_DTYPE


def _choose_precision(wanted: str, spec: str, device: str) -> str:
    """By the workers' device, which this process need not have: on a cluster it only plans."""
    from cache_store.spaces import pick_precision

    return pick_precision(wanted, device) if spec.startswith(("hf:", "laion:")) else wanted


def _precisions(writer: CacheWriter, files: list[FileEntry]) -> dict[str, int]:
    """How many rows were computed in which precision, as the files tell."""
    from cache_store.shards import read_footer

    rows: dict[str, int] = {}
    for entry in files:
        # A file that a stopped run of an older version left does not say: it knew float32 alone.
        name = read_footer(writer.path / entry.path).metadata.get("lqtse.precision", "float32")
        rows[name] = rows.get(name, 0) + entry.rows
    return rows


def _earlier_precisions(manifest: Manifest) -> set[str]:
    """Those of the steps before; a step of an older version does not say, and knew float32 only."""
    steps = [step for step in manifest.provenance if step.get("step") == "embed"]
    return {name for step in steps for name in step.get("precisions", ("float32",))}


def _choose_workers(writer: CacheWriter, model: Space, todo: list[FileEntry], device: str) -> int:
    """One on a GPU; on the CPU as many as there are cores, shards and seconds of work for."""
    if device != "cpu" or len(todo) < 2:
        return 1
    from cache_store.shards import iter_batches

    path = writer.path / todo[0].path
    probe = next(iter_batches(path, ["caption"], rows=_PROBE_ROWS)).column(0).to_pylist()
    model.embed_text(probe)  # the first call sets things up
    begin = time.perf_counter()
    model.embed_text(probe)
    seconds = time.perf_counter() - begin
    work = seconds * sum(entry.rows for entry in todo) / len(probe)
    most = min(available_cores(), len(todo), MOST_WORKERS)
    return max(1, min(most, int(work / SECONDS_WORTH_A_WORKER)))


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with `count` CPU threads inside, as before outside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _step(report: EmbedReport, stage: EmbedStage, precisions: dict[str, int]) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "step": "embed",
        "space": report.space,
        "fingerprint": report.fingerprint,
        "dtype": report.dtype,
        "device": report.device,
        "precisions": precisions,
        "threads": stage.threads,
        "batch_size": stage.batch_size,
        "captions": report.embedded,
        "cut": report.cut,
        "torch": version("torch"),
    }
