from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cache_store.errors import DamagedError, UsageError
from pipeline.engines import map_shards
from tests.pipeline.engines.stages import Square


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_shard_is_worked_once_whatever_the_number_of_workers(workers: int) -> None:
    rows: list[int] = []
    found = dict(map_shards(Square(), [1, 2, 3, 4], workers=workers, tick=rows.append))
    assert {number: value for number, (value, _) in found.items()} == {0: 1, 1: 4, 2: 9, 3: 16}
    assert sum(rows) == 1 + 2 + 3 + 4
    processes = {pid for _, pid in found.values()}
    assert (processes == {os.getpid()}) == (workers == 1)
    assert len(processes) <= workers


def test_nothing_to_do_loads_nothing() -> None:
    assert list(map_shards(Square(), [], workers=2, tick=lambda rows: None)) == []


def test_an_error_of_the_stage_arrives_whole() -> None:
    with pytest.raises(DamagedError) as caught:
        list(map_shards(Square("error"), [1, 2, 3, 4], workers=2, tick=lambda rows: None))
    assert (caught.value.where, caught.value.hint) == ("file 3", "mend it")


def test_an_unexpected_error_says_what_it_was() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: oops"):
        list(map_shards(Square("bug"), [1, 2, 3, 4], workers=2, tick=lambda rows: None))


def test_a_worker_that_dies_is_told_and_what_was_done_before_was_handed_on() -> None:
    done = []
    with pytest.raises(UsageError, match=r"exit code 9.*--workers"):
        for number, _ in map_shards(
            Square("death"), [1, 2, 3, 4], workers=2, tick=lambda rows: None
        ):
            done.append(number)
    assert set(done) <= {0, 1, 3}


_PARENT = """
from pipeline.engines import map_shards
from tests.pipeline.engines.stages import Square
if __name__ == "__main__":
    list(map_shards(Square(waits=(1, 2)), [1, 2], workers=2, tick=lambda rows: None))
"""


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_workers_end_with_their_parent(tmp_path: Path, how: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("[12].*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(path.suffix[1:]) for path in tmp_path.glob("[12].*")]
    assert len(workers) == 2
    getattr(process, how)()
    process.wait()
    while any(map(_runs, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, workers))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
