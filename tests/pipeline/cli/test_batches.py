"""Batches as a user meets them: `generate --backend openai-batch`, `batches`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cache_store import console
from pipeline.cli import PROG, app
from pipeline.ledger import open_ledger
from pipeline.llm.batch.book import Book
from pipeline.llm.scripted_batches import BatchScript
from pipeline.llm.scripted_server import ScriptedServer

KEY = "sk-secret-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "LQTSE_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `lqtse-cache` here; its exit code and what it wrote to each stream."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = console.run(app, PROG, [*map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def words(cache: Path, server: ScriptedServer, n: int = 10, *more: object) -> tuple[object, ...]:
    return (
        *("generate", cache, "-n", n, "--backend", "openai-batch", "--model", "m"),
        *("--base-url", server.url, "--poll", 0.01, *more),
    )


def serving(**how: Any) -> ScriptedServer:
    return ScriptedServer(batches=BatchScript(**how))


def test_captions_come_in_batches(call: Any, tmp_path: Path) -> None:
    with serving() as server:
        code, out, _ = call(*words(tmp_path, server, 10, "--json"))
    assert code == 0
    assert json.loads(out)["captions_kept"] == 10
    assert json.loads(out)["next_command"].startswith("lqtse-cache embed")


def test_without_waiting_the_command_to_go_on_is_named(call: Any, tmp_path: Path) -> None:
    with serving(polls=2) as server:
        first = words(tmp_path, server, 10, "--no-wait")
        code, out, err = call(*first, "--json")
        assert code == 0
        assert "1 batch at the server: validating" in err
        again = json.loads(out)["next_command"]
        assert f"generate {tmp_path} -n 10 --backend openai-batch --model m" in again
        assert again.endswith("--no-wait")
        code, out, _ = call("status", tmp_path)
        assert code == 0
        size = server.batches.sizes[0]
        assert re.search(rf"^  waiting in batches +{size} in 1 batch$", out, re.MULTILINE)
        assert out.endswith(f"next: lqtse-cache batches {tmp_path}\n")
        (plan,) = json.loads(call("status", tmp_path, "--json")[1])["plans"]
        assert (plan["in_batches"], plan["in_flight"]) == (size, 0)
        code, out, _ = call("batches", tmp_path)
        assert code == 0
        assert "batch_0000  in progress" in out.replace("_progress", " progress")
        assert f"(m at {server.url})" in out
        assert call(*first)[0] == 0
        assert server.calls.total() == server.batches.sizes[0]
        assert "waiting in batches" not in call("status", tmp_path)[1]


def test_ctrl_c_leaves_the_batch_running_and_says_how_to_go_on(tmp_path: Path) -> None:
    polled = threading.Event()

    def watch(event: str) -> None:
        if event == "after poll":
            polled.set()

    with serving(polls=10**6, watch=watch) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", "from pipeline.cli import main; main()"]
            + [str(word) for word in words(tmp_path, server)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ},
        )
        assert polled.wait(60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "goes on there: the same command collects it" in err
        assert f"lqtse-cache batches {tmp_path} --cancel cancels it" in err
        assert "Traceback" not in err
        assert server.batches.cancelled == 0


def test_cancelling_keeps_what_was_answered(call: Any, tmp_path: Path) -> None:
    with serving(polls=4) as server:
        call(*words(tmp_path, server, 40, "--no-wait"))
        call(*words(tmp_path, server, 40, "--no-wait"))  # one look further
        code, out, _ = call("batches", tmp_path, "--cancel", "--poll", 0.01, "--json")
        done = json.loads(out)
        size = server.batches.sizes[0]
        assert code == 0
        assert done["batches_cancelled"] == 1
        assert 0 < done["answers_kept"] == server.calls.total() < size
        assert done["requests_without_an_answer"] == size - done["answers_kept"]
        assert server.batches.files.stored == {}
        assert call("batches", tmp_path)[2] == "no batches\n"
        code, out, _ = call(*words(tmp_path, server, 40, "--json"))
        assert code == 0
        assert json.loads(out)["answers_from_the_ledger"] == done["answers_kept"]
        assert set(server.calls.values()) == {1}


def test_cancelling_what_never_got_there(call: Any, tmp_path: Path) -> None:
    faults = {"create": ["server_error"] * 6}
    with serving(faults=faults) as server:
        # Six attempts with their waits would take half a minute.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.llm.batch.remote.BatchServer.pause", lambda *_: 0.0)
            code, _, err = call(*words(tmp_path, server))
        assert code == 5
        assert "the server failed" in err
        assert len(server.batches.files.stored) == 1
        assert "not submitted  planned" in call("batches", tmp_path)[1]
        assert call("batches", tmp_path, "--cancel")[0] == 0
        assert server.batches.files.stored == {}
        assert server.batches.created == []


def test_forgetting_needs_no_server(call: Any, tmp_path: Path) -> None:
    with serving(polls=2) as server:
        call(*words(tmp_path, server, 10, "--no-wait"))
    code, out, _ = call("batches", tmp_path, "--forget", "--json")
    assert code == 0
    assert json.loads(out)["batches_forgotten"] == 1
    with open_ledger(tmp_path) as ledger:
        assert Book(ledger).open() == []
    code, _, err = call("batches", tmp_path, "--forget", "--cancel")
    assert code == 2
    assert "exclude each other" in err


def test_a_batch_that_the_server_lost_is_shown_as_unknown(call: Any, tmp_path: Path) -> None:
    with serving(polls=2) as server:
        call(*words(tmp_path, server, 10, "--no-wait"))
        server.batches._batches.clear()
        code, out, _ = call("batches", tmp_path, "--json")
        assert code == 0
        assert json.loads(out)["batches"][0]["status"] == "unknown"
        code, _, err = call("batches", tmp_path, "--cancel")
        assert code == 5
        assert "--forget" in err


def test_what_is_in_a_batch_is_not_asked_one_by_one(call: Any, tmp_path: Path) -> None:
    with serving(polls=2) as server:
        call(*words(tmp_path, server, 10, "--no-wait"))
        single = ("generate", tmp_path, "-n", 10, "--backend", "openai", "--model", "m")
        code, _, err = call(*single, "--base-url", server.url)
        assert code == 2
        assert "would be paid twice" in err
        assert f"lqtse-cache batches {tmp_path} --cancel" in err
        assert server.calls.total() == 0
        call("batches", tmp_path, "--cancel", "--poll", 0.01)
        assert call(*single, "--base-url", server.url)[0] == 0


def test_batches_have_prices_of_their_own(call: Any, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    entry = {"input": 2.0, "output": 8.0, "batch_input": 1.0, "batch_output": 4.0}
    prices.write_text(json.dumps({"m": entry}))
    with serving() as server:
        code, out, _ = call(*words(tmp_path / "c", server, 10, "--json", "--prices", prices))
    facts = json.loads(out)
    assert code == 0
    millions = (facts["tokens_read"] * 1.0 + facts["tokens_written"] * 4.0) / 1e6
    assert facts["cost_in_USD"] == pytest.approx(millions, abs=1e-6)


def test_a_secret_key_is_nowhere(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedServer(key=KEY) as server:
        code, out, err = call(*words(tmp_path, server, 5))
        assert code == 0
    with ScriptedServer(key="another") as server:
        code, more, worse = call(*words(tmp_path / "x", server, 5))
        assert code == 5
    assert KEY not in out + err + more + worse
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--rpm", 5), "--rpm and --tpm are for single requests"),
        (("--batch-requests", 50_001), "50000"),
        (("--timeout", 5), "--timeout works with --backend openai"),
    ],
)
def test_settings_without_an_effect_are_refused(
    call: Any, tmp_path: Path, more: tuple[object, ...], says: str
) -> None:
    with serving() as server:
        code, _, err = call(*words(tmp_path, server, 5, *more))
    assert code == 2
    assert says in err


def test_a_cache_that_is_not_there(call: Any, tmp_path: Path) -> None:
    for more in ((), ("--cancel",), ("--forget",)):
        assert call("batches", tmp_path / "none", *more)[0] in (2, 3)
    assert not (tmp_path / "none").exists()
