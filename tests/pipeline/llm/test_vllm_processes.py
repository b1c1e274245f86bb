"""The real engine in a real command that is interrupted, killed, or loses its engine."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.pipeline.llm import real_servers
from tests.pipeline.llm.test_children import gone
from tests.pipeline.llm.test_contract import FOLDER_VARIABLE

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small model."""
    made = tmp_path_factory.getbasetemp() / "smollm2"
    return real_servers.make_folder(Path(os.environ.get(FOLDER_VARIABLE) or made))


def start(cache: Path, model: Path) -> subprocess.Popen[str]:
    """Generate until somebody stops it, in a process and a session of its own."""
    words = ["generate", cache, "-n", 100_000, "--backend", "vllm", "--model", model]
    words += ["--style", "completion", "--concurrency", 4, "--max-model-len", 1024]
    return subprocess.Popen(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **real_servers.MEMORY},
        start_new_session=True,
    )


def answers(cache: Path) -> set[str]:
    """The requests that the ledger has answers to."""
    if not (cache / "ledger.sqlite").is_file():
        return set()
    connection = sqlite3.connect(f"file:{cache / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        return {row[0] for row in connection.execute("SELECT request_id FROM answers")}
    except sqlite3.OperationalError:
        return set()
    finally:
        connection.close()


def below(
    process: subprocess.Popen[str], cache: Path, before: frozenset[str] = frozenset()
) -> list[psutil.Process]:
    """All processes of the engine, once it has answered what was not answered `before`."""
    end = time.monotonic() + real_servers.STARTING
    while answers(cache) <= before:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "no answer"
        time.sleep(0.2)
    found = psutil.Process(process.pid).children(recursive=True)
    assert any("EngineCore" in " ".join(one.cmdline()) for one in found)
    return found


def test_ctrl_c_publishes_what_is_there_and_leaves_no_process(tmp_path: Path, model: Path) -> None:
    process = start(tmp_path, model)
    children = below(process, tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopped: " in err
    assert "died" not in err and "Traceback" not in err
    assert all(gone(child) for child in children)


def test_a_killed_command_leaves_no_process_and_goes_on_where_it_was(
    tmp_path: Path, model: Path
) -> None:
    process = start(tmp_path, model)
    children = below(process, tmp_path)
    process.kill()
    process.wait()
    assert all(gone(child) for child in children)
    process.communicate()

    # Once more, and this time the engine is killed: the command ends, and says so.
    before = frozenset(answers(tmp_path))
    process = start(tmp_path, model)
    children = below(process, tmp_path, before)
    (core,) = (one for one in children if "EngineCore" in " ".join(one.cmdline()))
    core.kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 5, err
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert "engine died" in line
    assert "Run the same command again" in line
    assert answers(tmp_path) > before
    assert all(gone(child) for child in children)
