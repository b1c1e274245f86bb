"""A whole run from a configuration: begin or resume, train, leave a folder that speaks for itself.

A folder that holds a run is never trained over: an unfinished one goes on with `--resume`, and only
with the settings that it began with.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.clips import write_rejects
from cache_store.console import note, warn
from cache_store.errors import (
    ChangedPlanError,
    LqtseError,
    MismatchError,
    MissingDependencyError,
    UsageError,
    storage_errors,
)
from cache_store.files import replace_file
from trainer.config import TrainConfig
from trainer.places import make_folder
from trainer.run import RunFolder, RunRecord, read_record, write_record
from trainer.tracking import check_tracking

if TYPE_CHECKING:
    from accelerate import Accelerator

    from trainer.loop import TrainResult
    from trainer.models import SeparatorModel
    from trainer.prepare import Prepared

# Settings that do not shape what is learned, and may differ when a run goes on.
FREE = frozenset(
    {
        *("cache", "audio", "valid_audio", "out"),
        *("log_every", "valid_sounds", "wandb", "device", "workers"),
    }
)


@dataclass(frozen=True)
class Trained:
    """What `train` did.

    Attributes:
        result: How the loop ended.
        clips: Clips trained on.
        rejects: Clips left out.
        held_out: Mixtures validated on.
        query_kind: Where the queries of the validation came from, "" without one.
        parameters: Of the separator.
        resumed_from: The step that it went on from, 0 for a new run.
        main: Whether this process is the one that reports.
        processes: How many trained together.
    """

    result: TrainResult
    clips: int
    rejects: int
    held_out: int
    query_kind: str
    parameters: int
    resumed_from: int
    main: bool
    processes: int = 1


def train(config: TrainConfig, *, resume: bool = False) -> Trained:
    """Train a separator.

    Args:
        config: The configuration.
        resume: Go on with the run in `config.out`; begin it if there is none.

    Raises:
        UsageError: The folder holds a run and `resume` is not set, or a setting cannot work.
        MissingDependencyError: Something that a setting asks for is not installed.
        ChangedPlanError: The run began with other settings, or from another cache.
        DataError: The audio, the cache or a checkpoint cannot be used.
        MismatchError: The cache, the audio and the model are not of one space.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved.
    """
    from trainer.loop import Trainer
    from trainer.prepare import prepare
    from trainer.stopping import stop_on_signal

    if config.wandb:
        check_tracking()
    folder = RunFolder(Path(config.out))
    step = check_folder(folder, config, resume)
    accelerator = _accelerator(config)
    main = accelerator.is_main_process
    if main:
        make_folder(folder.path)
    accelerator.wait_for_everyone()
    try:
        prepared = prepare(config, folder, accelerator.device)
    except LqtseError:
        # A run that could not begin leaves no empty folder behind.
        with suppress(OSError):
            folder.path.rmdir()
        raise
    model, record = _model(config, prepared, new=not step)
    if step:
        _check_record(read_record(folder), record, folder)
    if main:
        _begin(folder, config, record, prepared, new=not step)
    trainer = Trainer(config, folder, prepared, model, accelerator)
    if step:
        trainer.restore()
    with stop_on_signal() as stop:
        result = trainer.run(stop)
    accelerator.wait_for_everyone()
    if not result.finished:
        raise KeyboardInterrupt
    held_out = prepared.held_out
    return Trained(
        result,
        len(prepared.clips),
        len(prepared.rejects),
        len(held_out) if held_out else 0,
        held_out.query_kind if held_out else "",
        sum(parameter.numel() for parameter in model.parameters()),
        step,
        main,
        accelerator.num_processes,
    )


def check_folder(folder: RunFolder, config: TrainConfig, resume: bool) -> int:
    """The step that a run would go on from; 0 for a new one.

    Raises:
        UsageError: The folder holds a run and `resume` is not set, or the run is finished.
        ChangedPlanError: The run began with other settings.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise UsageError("the output is a file, not a folder", where=folder.path)
    if not folder.last.exists():
        return 0
    if not folder.config.exists():
        raise UsageError(
            "the folder holds weights that were trained elsewhere",
            where=folder.path,
            hint=f"Train on from them: --init {folder.path} --out another",
        )
    from trainer.checkpoint import load_checkpoint

    last = load_checkpoint(folder.last)
    step = last.step
    began = TrainConfig.from_toml(folder.config)
    finished = last.state.get("finished", step >= began.steps)
    state = "a finished run" if finished else f"a run at step {step} of {began.steps}"
    if not resume:
        raise UsageError(
            f"the folder holds {state}",
            where=folder.path,
            hint="Choose another --out"
            + ("" if finished else ", or add --resume to go on with it"),
        )
    check_unchanged(began, config, folder)
    return step


def check_unchanged(began: TrainConfig, config: TrainConfig, folder: RunFolder) -> None:
    """Refuse to go on with other settings.

    Raises:
        ChangedPlanError: Naming every setting that differs.
    """
    old, new = began.to_dict(), config.to_dict()
    changed = [name for name in old if name not in FREE and old[name] != new[name]]
    if changed:
        raise ChangedPlanError(
            "the run began with other settings",
            where=folder.config,
            expected=", ".join(f"{name} {old[name]!r}" for name in changed),
            found=", ".join(f"{name} {new[name]!r}" for name in changed),
            hint="Go on with the settings that it began with, or choose another --out",
        )


def _check_record(began: RunRecord, record: RunRecord, folder: RunFolder) -> None:
    """Refuse to go on with another cache or space than the run began with."""
    if began.space != record.space:
        raise MismatchError(
            "the run began in another embedding space",
            where=folder.record,
            expected=f"{began.space.name} [{began.space.fingerprint}]",
            found=f"{record.space.name} [{record.space.fingerprint}]",
        )
    if began.cache["data_hash"] != record.cache["data_hash"]:
        raise ChangedPlanError(
            "the cache is not the one that the run began with",
            where=record.cache["path"],
            expected=f"the data of manifest {began.cache['number']}",
            found=f"that of manifest {record.cache['number']}",
            hint="Train into another --out",
        )


def _accelerator(config: TrainConfig) -> Accelerator:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise MissingDependencyError(
            "accelerate is not installed", hint="pip install accelerate"
        ) from error
    from cache_store.spaces.base import pick_device

    if config.device != "auto":
        pick_device(config.device)
    try:
        return Accelerator(mixed_precision=config.precision, cpu=config.device == "cpu")
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"precision {config.precision!r} does not work on this device", found=error
        ) from error


def _model(
    config: TrainConfig, prepared: Prepared, *, new: bool
) -> tuple[SeparatorModel, RunRecord]:
    """The separator with its initial weights, and the record of the run."""
    from trainer.initial import initial_record, read_initial, take_over, versions
    from trainer.models import build_model, parse_sizes, size_record

    model = build_model(
        config.model,
        parse_sizes(config.sizes),
        condition_dim=prepared.space.dim,
        sample_rate=config.sample_rate,
        seed=config.seed,
        tower=prepared.tower,
    )
    record = RunRecord(
        strategy=config.strategy,
        negative=config.negative,
        model=config.model,
        sizes=size_record(model.size),
        sample_rate=config.sample_rate,
        seconds=config.seconds,
        space=prepared.space,
        space_spec=prepared.space_spec,
        cache=prepared.cache,
        seed=config.seed,
        versions=versions(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    # A run that goes on has its weights in its checkpoint.
    if config.init and new:
        initial = read_initial(config.init)
        take_over(initial, model, record)
        record = replace(record, init=initial_record(initial))
        if initial.left:
            note(f"{initial.source}: {initial.left} left alone")
    return model, record


def _begin(
    folder: RunFolder, config: TrainConfig, record: RunRecord, prepared: Prepared, *, new: bool
) -> None:
    """Write what the folder says about itself, and tell the user what is going on."""
    write_rejects(folder.rejects, prepared.rejects)
    if prepared.rejects:
        first = prepared.rejects[0]
        warn(
            f"{len(prepared.rejects)} clips are left out, the first: {first.name} {first.reason}; "
            f"all are in {folder.rejects}"
        )
    if prepared.diagnosis is not None:
        note(f"cache: {prepared.diagnosis}")
    for line in prepared.notes:
        warn(line)
    if new:
        with storage_errors(folder.config):
            replace_file(folder.config, config.to_toml().encode())
        write_record(folder, record)
        note(f"{folder.config}:\n{config.to_toml()}")
