"""The disk against a command: failing, full, cut off by a kill, cut off by a power cut.

Each of these goes through every operation that the command makes on the disk; see `shim.c` for
where they are counted.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import server
from tests.faults.memory import clone, drop, lines_of, put_lines
from tests.faults.operations import OPERATIONS
from tests.faults.powercut import Machine, read_trace, write_disk
from tests.faults.server import Job, Outcome, Shim
from tests.faults.verdict import Judge


@dataclass(frozen=True)
class Accident:
    """A kind of fault.

    Attributes:
        name: What to call it.
        mode: What the shim does.
        errno: What a failing operation says.
        reads: Whether reads fail too.
    """

    name: str
    mode: int
    errno: int = 0
    reads: bool = False


ACCIDENTS = (
    Accident("an operation fails (EIO)", server.FAIL, errno.EIO, reads=True),
    Accident("an operation fails half-way (EIO)", server.CUT, errno.EIO),
    Accident("the disk is full from there on (ENOSPC)", server.FAIL_ON, errno.ENOSPC),
    Accident("kill -9 before the operation", server.KILL),
    Accident("kill -9 half-way through it", server.KILL_HALF),
)


@dataclass(frozen=True)
class Count:
    """What was done and what came out.

    Attributes:
        points: Operations of the disk that were hit.
        runs: Accidents that happened.
        befores: After how many the cache was as before.
        afters: After how many it was as after.
        untold: Runs that went on as if nothing had been: the fault was in a place that may fail.
        distinct: Different folders among what was left.
    """

    points: int
    runs: int
    befores: int
    afters: int
    untold: int
    distinct: int


class Bench:
    """One command on a bench: its cache before, and the judge of what accidents leave.

    Args:
        name: A key of `OPERATIONS`.
        folder: Where to work; a folder in memory is quickest.
        shim: The server.
        rerun_every: See `Judge`.
    """

    def __init__(self, name: str, folder: Path, shim: Shim, rerun_every: int = 1) -> None:
        self.name, self.folder, self.shim = name, folder, shim
        self.rerun_every = rerun_every
        self.operation = OPERATIONS[name]
        self.template = folder / "before"
        self.template.mkdir(parents=True)
        self.operation.prepare(self.template / "cache")

    def judge(self) -> Judge:
        scratch = self.folder / "undisturbed"
        return Judge.of(self.operation, self.template, scratch, self.rerun_every)

    @contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        path = self.folder / name
        clone(self.template, path)
        try:
            yield path / "cache"
        finally:
            drop(path)

    def operations(self, reads: bool) -> int:
        """How many operations of the disk the command makes."""
        with self.copy("count") as cache:
            (outcome,) = self.shim.run([Job(self.name, str(cache), reads=reads)])
        assert not outcome.error, outcome.message
        return outcome.count

    def suffer(self, accident: Accident, every: int = 1, first: int = 1) -> Count:
        """Let it happen at every operation, or at every so many."""
        judge, untold = self.judge(), 0
        points = range(first, self.operations(accident.reads) + 1, every)
        jobs = []
        for nth in points:
            path = self.folder / f"{accident.mode} {nth}"
            clone(self.template, path)
            jobs.append(
                Job(
                    self.name,
                    str(path / "cache"),
                    accident.mode,
                    nth,
                    accident.errno,
                    accident.reads,
                )
            )
        for job, outcome in zip(jobs, self.shim.run(jobs), strict=True):
            where = f"{self.name}, {accident.name}, operation {job.nth}: {outcome}"
            try:
                untold += self._is_untold(accident, outcome, job.nth)
                judge.check(Path(job.cache), published=not outcome.killed and not outcome.error)
            except Exception as error:
                raise AssertionError(where) from error
            drop(Path(job.cache).parent)
        return Count(len(points), len(jobs), judge.befores, judge.afters, untold, len(judge.seen))

    def _is_untold(self, accident: Accident, outcome: Outcome, nth: int) -> bool:
        if accident.mode in (server.KILL, server.KILL_HALF):
            # What waits for one commit varies, and so does the number of operations.
            assert outcome.killed or outcome.count < nth
            return False
        if outcome.error:
            assert outcome.exit_code is not None, "an error that is not of our tree"
        return not outcome.error

    def cut_power(self, every: int = 1) -> Count:
        """Cut the power after every operation, or every so many, in every way of the model."""
        judge = self.judge()
        trace = self.folder / "trace"
        with self.copy("traced") as cache:
            machine = Machine(cache.parent)
            (outcome,) = self.shim.run([Job(self.name, str(cache), trace=str(trace))])
            assert not outcome.error, outcome.message
            told = lines_of(cache.parent)
        knew = len(lines_of(self.template))
        events, points, runs, known = read_trace(trace), 0, 0, set()
        marks: list[str] = []
        for number, event in enumerate(events, start=1):
            machine.apply(event)
            if event.what == "mark":
                marks.append(event.first)
            if number % every and number < len(events):
                continue
            points += 1
            for disk in machine.disks():
                runs += 1
                ended = number == len(events)
                key = (ended, len(marks), frozenset(disk.items()))
                if key in known:
                    continue
                known.add(key)
                place = self.folder / "disk"
                place.mkdir()
                write_disk(disk, place)
                put_lines(place, told[: knew + len(marks)])
                try:
                    judge.check(place / "cache", published=ended, marks=marks)
                except Exception as error:
                    where = f"{self.name}, power cut after {number}: {event.what} {event.first}"
                    raise AssertionError(f"{where}; on the disk {sorted(disk)}") from error
                drop(place)
        return Count(points, runs, judge.befores, judge.afters, 0, len(judge.seen))
