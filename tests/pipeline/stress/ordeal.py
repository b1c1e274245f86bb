"""The ordeal itself: run, kill, run again; then the same without a kill, for comparison."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.pipeline.stress.script import Misery
from tests.pipeline.stress.server import calls, serving

MODEL = "m"


@dataclass(frozen=True)
class Form:
    """How large it is.

    Attributes:
        captions: The `-n` of `generate`.
        requests: About so many requests it takes: the moments of the kills are drawn from them.
        kills: Deaths by kill -9 during `generate`.
        concurrency: Requests in flight.
        timeout: Seconds until a request that hangs is given up, at least 1.
        shard_rows: Rows a file.
        patient: Whether failed attempts wait as they do for a user.
        misery: How bad the server is.
        seed: Of the moments.
        seconds: The longest that one run may take.
    """

    captions: int
    requests: int
    kills: int
    concurrency: int
    timeout: float
    shard_rows: int
    patient: bool
    misery: Misery
    seed: int = 0
    seconds: float = 600.0


@dataclass
class Ordeal:
    """What happened.

    Attributes:
        form: How large it was.
        cache: The cache that was made under fire.
        whole: The cache that was made without a kill.
        before: For each kill: answered request ids in the ledger, and calls of the server so far.
        calls: All calls of the server during `generate`, in order.
        retried: Calls during `retry`, which was killed once; the ledger's answers at that kill.
        retried_before: As `before`, for the kill of `retry`.
        output: What the last `generate` printed.
    """

    form: Form
    cache: Path
    whole: Path
    before: list[tuple[set[str], int]] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    retried: list[tuple[str, str]] = field(default_factory=list)
    retried_before: tuple[set[str], int] = (set(), 0)
    snapshot: Path | None = None
    output: str = ""


def endure(form: Form, folder: Path) -> Ordeal:
    """Go through all of it in `folder`, which must be empty."""
    ordeal = Ordeal(form, folder / "cache", folder / "whole")
    rng = random.Random(form.seed)
    moments = sorted(rng.uniform(0.03, 0.97) for _ in range(form.kills))
    log = folder / "fire"
    with serving(folder / "peace", form.misery) as peaceful, serving(log, form.misery) as url:
        # Side by side: neither is timed.
        undisturbed = _generate(form, ordeal.whole, peaceful)
        for moment in moments:
            process = _generate(form, ordeal.cache, url)
            answered = int(moment * form.requests)
            _wait(process, lambda answered=answered: _answered(log) >= answered, form)
            time.sleep(rng.uniform(0.0, 0.05))
            _kill(process)
            ordeal.before.append((ledger_ids(ordeal.cache, folder / "look"), len(calls(log))))
        ordeal.output = _finish(_generate(form, ordeal.cache, url), form)
        ordeal.calls = calls(log)
        ordeal.snapshot = folder / "generated"
        shutil.copytree(ordeal.cache, ordeal.snapshot)
        (log / "well").touch()
        process = _command(form, "retry", ordeal.cache, url)
        _wait(process, lambda: len(calls(log)) >= len(ordeal.calls) + 3, form)
        _kill(process)
        ordeal.retried_before = (ledger_ids(ordeal.cache, folder / "look"), len(calls(log)))
        _finish(_command(form, "retry", ordeal.cache, url), form)
        ordeal.retried = calls(log, len(ordeal.calls))
        _finish(undisturbed, form)
    return ordeal


def ledger_ids(cache: Path, look: Path) -> set[str]:
    """The ids that the ledger has answers to; read in a copy, so that nothing is tidied up."""
    look.mkdir(exist_ok=True)
    for path in cache.glob("ledger.sqlite*"):
        shutil.copy(path, look / path.name)
    if not (look / "ledger.sqlite").exists():
        return set()
    connection = sqlite3.connect(look / "ledger.sqlite")
    try:
        return {row[0] for row in connection.execute("SELECT request_id FROM answers")}
    finally:
        connection.close()
        shutil.rmtree(look)


def _answered(log: Path) -> int:
    """Requests that had a call with an answer."""
    from tests.pipeline.stress.script import FAILING

    return len({one for one, behaviour in calls(log) if behaviour not in FAILING})


def _generate(form: Form, cache: Path, url: str) -> subprocess.Popen[str]:
    return _command(form, "generate", cache, url, "-n", str(form.captions))


def _command(form: Form, name: str, cache: Path, url: str, *words: str) -> subprocess.Popen[str]:
    entry = [sys.executable, "-m", "tests.pipeline.stress.command", str(form.shard_rows)]
    entry += ["patient" if form.patient else "impatient", name, str(cache)]
    asking = ["--backend", "openai", "--model", MODEL, "--base-url", url]
    manners = ["--concurrency", str(form.concurrency), "--timeout", str(form.timeout), "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.Popen(
        [*entry, *words, *asking, *manners],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _wait(process: subprocess.Popen[str], true: object, form: Form) -> None:
    assert callable(true)
    end = time.monotonic() + form.seconds
    while not true() and process.poll() is None:
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it had ended before: {err}"


def _finish(process: subprocess.Popen[str], form: Form) -> str:
    out, err = process.communicate(timeout=form.seconds)
    assert process.returncode == 0, err
    return out


def counted(pairs: list[tuple[str, str]]) -> Counter[str]:
    """Calls by request id."""
    return Counter(request_id for request_id, _ in pairs)
