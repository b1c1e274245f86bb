"""The engine on a real cluster: three nodes of Ray on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cache_store.errors import DamagedError, MismatchError, UsageError
from pipeline.engines import Engine, open_engine
from pipeline.engines.ray_engine import _check_versions
from tests.pipeline.engines.conftest import ThreeNodes
from tests.pipeline.engines.stages import Square

NUMBERS = list(range(1, 9))
SQUARES = {number: (number + 1) ** 2 for number in range(8)}


@pytest.fixture(scope="module")
def engine(three_nodes: ThreeNodes) -> Iterator[Engine]:
    with open_engine("ray", three_nodes.address) as engine:
        yield engine


def squares(engine: Engine, stage: Square, workers: int = 2) -> dict[int, int]:
    """What the stage makes of the numbers, and a check that rows are told once."""
    rows: list[int] = []
    found = dict(engine.map_shards(stage, NUMBERS, workers=workers, tick=rows.append))
    assert sum(rows) == sum(NUMBERS)
    return {number: value for number, (value, _) in found.items()}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_shard_is_worked_once_whatever_the_number_of_workers(
    engine: Engine, workers: int
) -> None:
    found = dict(engine.map_shards(Square(), NUMBERS, workers=workers, tick=lambda rows: None))
    assert {number: value for number, (value, _) in found.items()} == SQUARES
    processes = {pid for _, pid in found.values()}
    assert os.getpid() not in processes and len(processes) <= workers


def test_nothing_to_do_starts_nothing(engine: Engine) -> None:
    assert list(engine.map_shards(Square(), [], workers=2, tick=lambda rows: None)) == []


def test_there_is_room_for_what_the_cluster_has(engine: Engine) -> None:
    assert (engine.name, engine.room("cpu", 1), engine.room("cpu", 4)) == ("ray", 6, 1)
    assert engine.device("auto") == engine.device("cpu") == engine.home("cuda") == "cpu"
    with pytest.raises(UsageError, match="no machine of this Ray cluster has a GPU"):
        engine.device("cuda")
    with pytest.raises(UsageError, match="hands out the GPUs"):
        engine.device("cuda:1")


def test_an_error_of_the_stage_arrives_whole(engine: Engine) -> None:
    for fault, where in (("error", "file 3"), ("unprepared", "the hub")):
        with pytest.raises(DamagedError) as caught:
            squares(engine, Square(fault))
        assert caught.value.where == where
        assert caught.value.__cause__ is None  # nothing of Ray's in it


def test_an_unexpected_error_says_what_it_was(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError: oops$"):
        squares(engine, Square("bug"))


def test_a_folder_that_a_machine_does_not_see_is_named(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.*file system that they share"):
        squares(engine, Square(folder=str(tmp_path / "nowhere")))


def test_a_worker_that_dies_is_replaced_and_its_shard_begun_anew(
    engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert squares(engine, Square("death once", str(tmp_path))) == SQUARES
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("a worker died") == 1 and "Traceback" not in err


def test_a_shard_that_kills_every_worker_ends_the_run(engine: Engine) -> None:
    done = []
    with pytest.raises(UsageError, match=r"3 workers on one shard.*--workers"):
        for number, _ in engine.map_shards(
            Square("death"), NUMBERS, workers=2, tick=lambda rows: None
        ):
            done.append(number)
    assert 2 not in done


def test_a_worker_that_is_killed_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    def kill() -> None:
        (victim,) = await_files(tmp_path, 1)
        os.kill(int(victim.suffix[1:]), signal.SIGKILL)
        (tmp_path / "go").touch()

    with beside(kill):
        assert squares(engine, Square(folder=str(tmp_path), waits=(1,)), workers=1) == SQUARES
    assert len(list(tmp_path.glob("1.*"))) == 2


@pytest.mark.slow
def test_a_machine_that_is_lost_loses_nothing(three_nodes: ThreeNodes, tmp_path: Path) -> None:
    """Each worker takes two cores, so four machines hold four of them; one machine goes."""
    node = three_nodes.add()

    def lose() -> None:
        await_files(tmp_path, 4)
        three_nodes.remove(node)
        (tmp_path / "go").touch()

    stage = Square(folder=str(tmp_path), waits=(1, 2, 3, 4), threads=2)
    with open_engine("ray", three_nodes.address) as engine, beside(lose):
        assert squares(engine, stage, workers=4) == SQUARES
    assert len(list(tmp_path.glob("[1-4].*"))) == 4 + 1


def test_other_versions_on_a_machine_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"node 7.*expected.*torch.*found.*torch 0\.1"):
        _check_versions("node 7", {"torch": "0.1"})


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread meanwhile."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


def await_files(folder: Path, count: int) -> list[Path]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if len(found := list(folder.glob("[0-9]*.*"))) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError("the workers did not begin")
