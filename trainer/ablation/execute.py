"""Run what an ablation planned: every training and every evaluation a process of its own.

A process is one of the public commands, so that what was run can be typed again, and memory that a
training leaves behind ends with it. What is finished is not run again, a training that was
interrupted goes on from its checkpoint. One that fails holds up no others than those that were to
begin with it; it is told at the end.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from cache_store.errors import LqtseError, storage_errors
from cache_store.files import replace_file
from trainer.ablation.plan import Ablation, Job
from trainer.config import TrainConfig
from trainer.run import RunFolder
from trainer.training import check_unchanged

Report = Callable[[str, Job], None]


class AblationError(LqtseError):
    """A training or an evaluation failed; it leaves with the exit code of the first that did."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        first = failures[0]
        super().__init__(
            f"{len(failures)} of the runs failed, the first: {first.message}",
            where=first.log,
            found=f"exit code {first.code}",
            hint="The finished ones are kept: mend it and run the same command again",
        )
        self.exit_code = first.code


@dataclass(frozen=True)
class Failure:
    """A process that failed.

    Attributes:
        job: Whose.
        code: Its exit code, 1 if a signal ended it.
        message: The last line that it said.
        log: Where all that it said is.
    """

    job: Job
    code: int
    message: str
    log: Path


class Runner:
    """Runs jobs.

    Args:
        ablation: The plan.
        parallel: How many at once; the cores are shared out evenly between them.
        report: Told of "train", "evaluate" and "done".
    """

    def __init__(self, ablation: Ablation, parallel: int, report: Report) -> None:
        self._ablation = ablation
        self._parallel = parallel
        self._report = report
        self._stop = Event()
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._trained: dict[str, Future[bool]] = {}  # by the folder of a run

    def run(self) -> None:
        """Run what is not finished.

        Raises:
            AblationError: If something failed; everything else was done.
            KeyboardInterrupt: Ctrl-C or SIGTERM; every training saved its state.
            StorageError: If the folder cannot be written.
            ChangedPlanError: If a finished run was made with other settings.
        """
        check_finished(self._ablation)
        todo = [job for job in self._ablation.jobs if not job.results.is_file()]
        with storage_errors(self._ablation.out):
            for name in ("runs", "results", "logs"):
                (self._ablation.out / name).mkdir(parents=True, exist_ok=True)
        self._trained = {job.config.out: Future() for job in todo}
        failures = []
        with ThreadPoolExecutor(self._parallel) as pool:
            futures = [pool.submit(self._job, job) for job in todo]
            try:
                for future in as_completed(futures):
                    failure = future.result()
                    failures += [failure] if failure is not None else []
            except BaseException:
                self._end()
                raise
        if failures:
            raise AblationError(failures)

    def _job(self, job: Job) -> Failure | None:
        """Train and evaluate; what went wrong, if something did."""
        begun_with = self._trained.get(job.begins_with)
        # Never a deadlock: jobs begin in the order of the plan, where that one stands before.
        if begun_with is not None and not begun_with.result():
            self._trained[job.config.out].set_result(False)
            return None  # what held it up is told already
        trained = False
        try:
            failure = self._train(job)
            trained = failure is None and not self._stop.is_set()
        finally:
            self._trained[job.config.out].set_result(trained)
        if not trained:
            return failure
        self._report("evaluate", job)
        failure = self._process(job, evaluate_command(job))
        if failure is None:
            self._report("done", job)
        return failure

    def _train(self, job: Job) -> Failure | None:
        config = job.config
        settings = self._ablation.out / "runs" / f"{Path(config.out).name}.toml"
        with storage_errors(settings):
            replace_file(settings, config.to_toml().encode())
        if self._stop.is_set():
            return None
        self._report("train", job)
        words = ("train", "--config", str(settings), "--out", config.out, "--resume")
        return self._process(job, words)

    def _process(self, job: Job, words: Sequence[str]) -> Failure | None:
        path = self._ablation.out / "logs" / f"{Path(job.config.out).name}.txt"
        with storage_errors(path), path.open("ab") as log:
            log.write(f"$ lqtse {shlex.join(words)}\n".encode())
            log.flush()
            with self._lock:
                if self._stop.is_set():
                    return None
                process = subprocess.Popen(
                    [sys.executable, "-m", "trainer", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment(),
                    # A Ctrl-C at the terminal reaches us alone, and we pass it on once.
                    start_new_session=True,
                )
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
        if code == 0 or self._stop.is_set():
            return None
        return Failure(job, code if code > 0 else 1, _last_words(path), path)

    def _environment(self) -> dict[str, str]:
        """The cores shared out, where the user did not say otherwise; our folders importable."""
        root = str(Path(__file__).parents[2])
        paths = [root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        if self._parallel > 1:
            share = max(1, (os.cpu_count() or 1) // self._parallel)
            environment.setdefault("OMP_NUM_THREADS", str(share))
        return environment

    def _end(self) -> None:
        """Ask every process to stop, and wait until it has saved its state."""
        with self._lock:
            self._stop.set()
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def check_finished(ablation: Ablation) -> None:
    """Make sure that what is finished was trained as the plan says today.

    Raises:
        ChangedPlanError: If a setting differs, that of a default among them; all are named.
        DataError: If a run's record of its settings is lost.
    """
    for job in ablation.jobs:
        if job.results.is_file():
            folder = RunFolder(Path(job.config.out))
            check_unchanged(TrainConfig.from_toml(folder.config), job.config, folder)


def evaluate_command(job: Job) -> tuple[str, ...]:
    """The arguments of `lqtse` that measure a job's run."""
    settings = job.evaluate
    words = ["evaluate", job.config.out, "--audio", settings.audio, "--out", str(job.results)]
    for name in ("where", "queries", "space", "space_name", "checkpoint", "device"):
        value = getattr(settings, name)
        words += [f"--{name.replace('_', '-')}", value] if value else []
    for name in ("snr", "mixtures", "seed"):
        words += [f"--{name}", str(getattr(settings, name))]
    if settings.seconds is not None:
        words += ["--seconds", str(settings.seconds)]
    for flag in ("label_from_folder", "bss", "clap_score", "say_not"):
        words += [f"--{flag.replace('_', '-')}"] if getattr(settings, flag) else []
    return tuple(words)


def _last_words(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or ["no message"])[-1].removeprefix("error: ")
