"""A folder of recordings separated by several processes; what is finished is not done again.

A recording is done again if it has changed, or the checkpoint, queries or settings have, or if an
output is gone (`trainer.separate_journal`). Each process computes with one thread, so the bits do
not depend on how many there are. A recording that cannot be separated is reported, and the others
go on.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cache_store.console import Advance, progress
from cache_store.errors import LqtseError, StorageError, UsageError
from trainer.output_names import plan_outputs
from trainer.places import make_folder
from trainer.separate_file import FileSettings, Separated, Wanted, separate_recording
from trainer.separate_journal import Task, is_finished, open_journal, read_done, task_key
from trainer.unfinished import sweep_unfinished


@dataclass(frozen=True)
class Loading:
    """How each process loads the separator: the arguments of `Separator.load`."""

    run: Path
    checkpoint: str = "best"
    space: str = ""
    space_name: str = ""
    device: str = "auto"
    precision: str = "no"

    def load(self) -> Any:
        """The separator."""
        from trainer.separate import Separator

        return Separator.load(
            self.run,
            checkpoint=self.checkpoint,
            space=self.space,
            space_name=self.space_name,
            device=self.device,
            precision=self.precision,
        )


@dataclass(frozen=True)
class FolderResult:
    """What became of a folder.

    Attributes:
        done: What was separated now, by recording.
        skipped: Recordings that were finished before.
        failed: Recordings that could not be separated, and why.
        deaf: Why sound was not judged, "" if it was.
    """

    done: dict[str, tuple[Separated, ...]]
    skipped: tuple[str, ...]
    failed: dict[str, str]
    deaf: str


def separate_folder(
    loading: Loading,
    folder: Path,
    out: Path,
    queries: Sequence[str],
    settings: FileSettings,
    *,
    suffix: str = ".wav",
    residual: bool = False,
    workers: int = 1,
) -> FolderResult:
    """Separate every recording below a folder.

    Args:
        loading: The separator.
        folder: Searched recursively; `out` is left out where it lies inside.
        out: Where the sounds go; made if missing.
        queries: What to take out of each recording.
        settings: How.
        suffix: Of the outputs' format, with its dot.
        residual: Whether the rest is wanted too.
        workers: Processes.

    Raises:
        EmptyInputError: There is no recording.
        UsageError: The outputs cannot be named or written so.
        StorageError: `out` cannot be written.
        DataError: The run or a query's embedding is missing.
    """
    from cache_store.clips.folder import recordings
    from trainer.audio_out import check_output

    if workers < 1:
        raise UsageError("the number of workers must be at least 1", found=workers)
    inside = out.resolve()
    names = [
        name for name in recordings(folder) if not (folder / name).resolve().is_relative_to(inside)
    ]
    plans = plan_outputs(names, queries, suffix, residual)
    check_output(Path(f"x{suffix}"), settings.subtype)
    # Loaded here too: what is wrong with it is told once, and before any work.
    separator = loading.load()
    for query in queries:
        separator.condition(query, negative=settings.negative)
    make_folder(out)
    base = _base_key(loading, separator.judge.calibration, settings)
    tasks = [
        Task(name.as_posix(), folder / name, _below(out, plan), task_key(base, folder / name, plan))
        for name, plan in zip(names, plans, strict=True)
    ]
    for place in {one.output.parent for task in tasks for one in task.wanted}:
        sweep_unfinished(place)
    known = read_done(out)
    todo = [task for task in tasks if not is_finished(task, known)]
    skipped = tuple(task.name for task in tasks if is_finished(task, known))
    done: dict[str, tuple[Separated, ...]] = {}
    failed: dict[str, str] = {}
    deaf = ""
    with (
        open_journal(out) as journal,
        progress("separate", len(todo), "recordings") as advance,
    ):
        for task, result, why in _run(loading, separator, todo, settings, workers):
            if isinstance(result, str):
                failed[task.name] = result
            else:
                done[task.name] = result
                deaf = deaf or why
                journal.note(task, result)
            _tell(advance, len(failed))
    return FolderResult(done, skipped, failed, deaf)


_Outcome = tuple[Task, "tuple[Separated, ...] | str", str]


def _run(
    loading: Loading, separator: Any, tasks: list[Task], settings: FileSettings, workers: int
) -> Iterator[_Outcome]:
    import torch

    if workers == 1 or len(tasks) < 2:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for task in tasks:
                yield (task, *_one(separator, task, settings))
        finally:
            torch.set_num_threads(threads)
        return
    # Not forked: a child of a process whose torch has threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(tasks)), context, initializer=_begin, initargs=(loading,)
    ) as pool:
        pending = {pool.submit(_in_worker, task, settings): task for task in tasks}
        try:
            while pending:
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield (pending.pop(future), *future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_SEPARATOR: Any = None


def _begin(loading: Loading) -> None:
    """Load the separator in a worker process."""
    import signal

    import torch

    global _SEPARATOR
    # Ctrl-C reaches all processes of a terminal: the parent stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _SEPARATOR = loading.load()


def _end_with_parent() -> None:
    """End this process when the parent is gone: killed, it can tell nobody to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _in_worker(task: Task, settings: FileSettings) -> tuple[tuple[Separated, ...] | str, str]:
    return _one(_SEPARATOR, task, settings)


def _one(
    separator: Any, task: Task, settings: FileSettings
) -> tuple[tuple[Separated, ...] | str, str]:
    """What became of a recording, or why it could not be separated; and why it was not heard."""
    try:
        task.wanted[0].output.parent.mkdir(parents=True, exist_ok=True)
        found = separate_recording(separator, task.source, task.wanted, settings)
    except StorageError:
        # Not this recording's fault, and no other one would fare better.
        raise
    except LqtseError as error:
        return error.message, ""
    return found, separator.judge.deaf


def _tell(advance: Advance, failed: int) -> None:
    advance(1, **({"failed": failed} if failed else {}))


def _below(out: Path, plan: Sequence[Wanted]) -> tuple[Wanted, ...]:
    return tuple(
        Wanted(one.query, out / one.output, out / one.residual if one.residual else None)
        for one in plan
    )


def _base_key(loading: Loading, calibration: Any, settings: FileSettings) -> list[Any]:
    from trainer.checkpoint import checkpoint_hash
    from trainer.run import RunFolder, checkpoint_path

    weights = checkpoint_hash(checkpoint_path(RunFolder(loading.run), loading.checkpoint))
    judged = asdict(calibration) if calibration is not None and settings.confidence else None
    # Nothing for float32: what older versions did stays done.
    precision = [] if loading.precision == "no" else [loading.precision]
    return [weights, judged, asdict(settings), *precision]
