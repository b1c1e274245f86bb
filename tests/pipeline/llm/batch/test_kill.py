"""Killed -9 between any two steps, and run again: one batch, every answer, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cache_store.manifest import newest_manifest
from cache_store.shards import read_table
from pipeline.llm.scripted_batches import BatchScript
from pipeline.llm.scripted_server import ScriptedServer

ROOT = Path(__file__).parents[4]
N = 8
# What a run of one batch does at the server, in order; no step before the first changes anything.
STEPS = ("upload", "create", "poll", "content", "delete")
MOMENTS = (*(f"{when} {step}" for step in STEPS for when in ("before", "after")),)
LOCAL = ("plan", "submitted", "collected", "done")


class Runs:
    """Processes of `lqtse-cache generate`, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.llm.batch.forker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "FORKER_LOG": str(self.log)},
        )
        self.pid = 0
        self._known = threading.Event()

    def __call__(self, cache: Path, server: ScriptedServer, *, die_in: str = "") -> int:
        """Exit code of one run."""
        words = ["generate", str(cache), "-n", str(N), "--backend", "openai-batch"]
        words += ["--model", "m", "--base-url", server.url, "--poll", "0.01"]
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._known.clear()
        self._forker.stdin.write(json.dumps({"args": words, "die_in": die_in}) + "\n")
        self._forker.stdin.flush()
        self.pid = json.loads(self._forker.stdout.readline())["pid"]
        self._known.set()
        return int(json.loads(self._forker.stdout.readline())["code"])

    def kill(self) -> None:
        """Kill the run that is under way."""
        assert self._known.wait(10)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the forker."""
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.close()
        self._forker.stdout.close()
        self._forker.wait(10)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    one = Runs(tmp_path_factory.mktemp("runs"))
    yield one
    one.close()


def captions(cache: Path) -> list[str]:
    manifest = newest_manifest(cache)
    assert manifest is not None
    tables = [read_table(cache / entry.path) for entry in manifest.captions]
    return [text for table in tables for text in table.column("caption").to_pylist()]


@pytest.fixture(scope="module")
def undisturbed(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], int]:
    """The captions of a run that nobody kills, and how many batches it makes."""
    cache = tmp_path_factory.mktemp("undisturbed")
    with ScriptedServer() as server:
        assert runs(cache, server) == 0, runs.log.read_text()
        return captions(cache), len(server.batches.created)


def check(
    server: ScriptedServer, cache: Path, undisturbed: tuple[list[str], int], runs: Runs
) -> None:
    assert runs(cache, server) == 0, runs.log.read_text()
    assert captions(cache) == undisturbed[0]
    assert len(server.batches.created) == undisturbed[1], "nothing was submitted twice"
    assert set(server.calls.values()) == {1}
    assert server.batches.files.stored == {}, "nothing is left at the server"
    assert sorted(path.name for path in cache.iterdir() if path.name.startswith("tmp")) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_a_step_is_taken_up(
    moment: str, runs: Runs, undisturbed: tuple[list[str], int], tmp_path: Path
) -> None:
    left = [moment]

    def watch(event: str) -> None:
        if left and event == left[0]:
            left.clear()
            runs.kill()

    with ScriptedServer(batches=BatchScript(watch=watch)) as server:
        assert runs(tmp_path, server) == -signal.SIGKILL
        check(server, tmp_path, undisturbed, runs)


@pytest.mark.parametrize("method", LOCAL)
def test_a_run_killed_before_it_notes_a_step_is_taken_up(
    method: str, runs: Runs, undisturbed: tuple[list[str], int], tmp_path: Path
) -> None:
    with ScriptedServer() as server:
        assert runs(tmp_path, server, die_in=method) == -signal.SIGKILL
        check(server, tmp_path, undisturbed, runs)


def test_a_run_killed_at_every_step_gets_there_all_the_same(
    runs: Runs, undisturbed: tuple[list[str], int], tmp_path: Path
) -> None:
    left = list(MOMENTS[1::2])  # each is its own run's: nothing comes after a kill

    def watch(event: str) -> None:
        if left and event == left[0]:
            left.pop(0)
            runs.kill()

    with ScriptedServer(batches=BatchScript(watch=watch)) as server:
        kills = 0
        while left and (code := runs(tmp_path, server)) != 0:
            assert code == -signal.SIGKILL
            kills += 1
        assert kills == len(STEPS)
        check(server, tmp_path, undisturbed, runs)
