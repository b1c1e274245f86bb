"""A Ray of our own: quiet, on the loopback interface only, and gone with the run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cache_store.errors import MissingDependencyError, UnreachableError, UsageError
from cache_store.manifest import newest_manifest
from pipeline.embed import embed_cache
from pipeline.engines import open_engine
from pipeline.importing import import_captions
from tests.pipeline.materials import captions, write_lines

ROOT = Path(__file__).parents[3]
_DRIVER = """
import signal
from cache_store import console
from pipeline.engines import open_engine
from tests.pipeline.engines.stages import Square
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_engine("ray") as engine:
        list(engine.map_shards(Square(waits=(1, 2)), [1, 2], workers=2, tick=lambda rows: None))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python with these words, with `tmp_path` as its folder and its temporary folder."""
    pytest.importorskip("ray", reason="needs the extra: pip install 'lqtse[ray]'")
    started: list[subprocess.Popen[str]] = []

    def run(*words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": "/tmp"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ray_processes(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """All that the driver has started."""
    return psutil.Process(driver.pid).children(recursive=True)


def await_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def await_workers(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list(folder.glob("[12].*"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)


def test_the_command_line_shows_nothing_of_ray_and_makes_the_same_files(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    source = write_lines(tmp_path / "in.txt", captions(30))
    for name in ("one", "two"):
        import_captions(tmp_path / name, source, shard_rows=10)
    embed_cache(tmp_path / "one", device="cpu", workers=1)
    words = ["-m", "tests.pipeline.run", "embed", "two", "--engine", "ray", "--workers", "2"]
    process = start(*words, "--device", "cpu", "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["workers"] == 2
    assert [line for line in err.splitlines() if not line.startswith("embed: ")] == []
    one, two = newest_manifest(tmp_path / "one"), newest_manifest(tmp_path / "two")
    assert one is not None and two is not None and one.data == two.data


def test_it_is_on_the_loopback_interface_and_ctrl_c_takes_all_of_it_away(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    (tmp_path / "driver.py").write_text(_DRIVER)
    before = set(Path("/tmp").glob("lqtse-ray-*"))
    process = start("driver.py")
    await_workers(tmp_path, process)
    family = [psutil.Process(process.pid), *ray_processes(process)]
    listening = {
        connection.laddr.ip
        for member in family
        for connection in member.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening and listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    await_end(family)
    assert set(Path("/tmp").glob("lqtse-ray-*")) <= before


@pytest.mark.slow
def test_it_ends_with_a_driver_that_is_killed(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    (tmp_path / "driver.py").write_text(_DRIVER)
    process = start("driver.py")
    await_workers(tmp_path, process)
    family = ray_processes(process)
    process.kill()
    process.communicate()
    # Two idle helpers of Ray's first try to reach the rest of it, which takes them a minute.
    await_end([member for member in family if not _is_agent(member)])


def _is_agent(process: psutil.Process) -> bool:
    try:
        return process.name().endswith("Agent") or "Agent" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def test_without_ray_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingDependencyError, match=r"pip install 'lqtse\[ray\]'"),
        open_engine("ray"),
    ):
        pass


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:", ":6379", "head:port"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"), open_engine("ray", address):
        pass


def test_nobody_at_the_address_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(UnreachableError, match=rf"{address}.*ray start"),
            open_engine("ray", address),
        ):
            pass


def test_engines_are_known_and_only_ray_has_addresses() -> None:
    with pytest.raises(UsageError, match="local or ray"), open_engine("dask"):
        pass
    with pytest.raises(UsageError, match="--engine ray"), open_engine("local", "auto"):
        pass
