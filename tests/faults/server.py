"""A process that runs commands under the shim, each in a child of its own, over and over.

It imports everything once and starts no thread, so that forking is safe and a run costs a tenth of
a second. One JSON object a line comes in, one goes out; `Shim` is the other side. Runs as
`python -m tests.faults.server` with the shim preloaded.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.operations import OPERATIONS

OFF, COUNT, FAIL, FAIL_ON, CUT, KILL, KILL_HALF = range(7)
_SOURCE = Path(__file__).with_name("shim.c")


@dataclass(frozen=True)
class Job:
    """One run of a command.

    Attributes:
        operation: A key of `OPERATIONS`.
        cache: Its cache; what lies in the folder around it is watched.
        mode: What happens at the n-th operation of the disk: one of the numbers above.
        nth: Which; counted from 1.
        errno: What a failing operation says.
        reads: Count and fail reads too.
        trace: Where to write the trace, "" for nowhere.
    """

    operation: str
    cache: str
    mode: int = COUNT
    nth: int = 0
    errno: int = 0
    reads: bool = False
    trace: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        killed: Whether it died by a signal.
        count: Operations on the disk; 0 if it was killed.
        error: The class of what it raised, "" for nothing.
        exit_code: What our error ends with, None for an error that is not ours.
        message: The error's text.
    """

    killed: bool
    count: int = 0
    error: str = ""
    exit_code: int | None = None
    message: str = ""


class Shim:
    """The server, seen from the tests; made by `shim`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Run jobs; the next one runs while the caller looks at the last."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        sent = read = 0
        try:
            while read < len(jobs):
                while sent < min(read + 2, len(jobs)):
                    self._send(jobs[sent])
                    sent += 1
                line = self._process.stdout.readline()
                assert line, "the server died"
                read += 1
                if sent < len(jobs):
                    self._send(jobs[sent])
                    sent += 1
                yield Outcome(**json.loads(line))
        finally:
            for _ in range(sent - read):  # where the caller found a fault and left
                self._process.stdout.readline()

    def _send(self, job: Job) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()


def compile_shim(folder: Path) -> tuple[Path | None, str]:
    """Compile the shim; the library, or None and why not."""
    if not sys.platform.startswith("linux"):
        return None, "the shim is for Linux"
    library = folder / "shim.so"
    command = [os.environ.get("CC", "cc"), "-O1", "-shared", "-fPIC", "-o"]
    try:
        done = subprocess.run(
            [*command, str(library), str(_SOURCE), "-ldl"], capture_output=True, text=True
        )
    except OSError:
        return None, "there is no C compiler"
    return (library, "") if done.returncode == 0 else (None, done.stderr.strip()[:200])


@contextmanager
def shim() -> Iterator[Shim]:
    """Start the server.

    Raises:
        RuntimeError: If it cannot run here, saying why.
    """
    with tempfile.TemporaryDirectory() as folder:
        library, reason = compile_shim(Path(folder))
        if library is None:
            raise RuntimeError(reason)
        environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server", str(library)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        try:
            yield Shim(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _child(library: Any, job: Job, results: int) -> None:
    from cache_store.errors import LqtseError

    outcome: dict[str, Any] = {}
    cache = Path(job.cache)
    watched, trace = os.fsencode(cache.parent), os.fsencode(job.trace)
    library.faults_arm(watched, job.mode, job.nth, job.errno, int(job.reads), trace)
    try:
        OPERATIONS[job.operation].act(cache)
    except Exception as error:
        outcome = {
            "error": type(error).__name__,
            "exit_code": error.exit_code if isinstance(error, LqtseError) else None,
            "message": str(error),
        }
    outcome["count"] = library.faults_disarm()
    os.write(results, json.dumps(outcome).encode())


def main() -> None:
    """Fork for each line of standard input."""
    import openai  # noqa: F401
    import pandas
    import psutil  # noqa: F401 - the lease and pyarrow load these when first used

    import cache_store.cache
    import cache_store.index.build
    import cache_store.index.rebuild
    import cache_store.repair
    import cache_store.spaces.tiny.space  # noqa: F401
    import pipeline.dedupe
    import pipeline.embed
    import pipeline.importing
    import pipeline.indexing
    import pipeline.likeness
    import pipeline.llm.batch.source  # noqa: F401

    del pandas
    import faiss  # noqa: F401
    import torch

    torch.set_num_threads(1)
    library = ctypes.CDLL(sys.argv[1])
    for line in sys.stdin:
        job = Job(**json.loads(line))
        source, target = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(source)
            try:
                _child(library, job, target)
            finally:
                os._exit(0)
        os.close(target)
        with os.fdopen(source, "rb") as file:
            said = file.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        outcome = Outcome(killed=status < 0, **(json.loads(said) if said else {}))
        print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main()
