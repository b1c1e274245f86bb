"""The command as a user runs it: in this process for its words, in its own to be killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cache_store import console
from cache_store.manifest import newest_manifest
from cache_store.shards import read_table
from pipeline.cli import PROG, app
from pipeline.llm import weights
from pipeline.llm.scripted_server import ScriptedServer

KEY = "sk-secret-0123456789abcdef"
CONCEPTS = "dog\nrain\nchurch bell\ntrain\nkettle\nviolin\nthunder\ncrow\nhandsaw\ndoor\n"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "LQTSE_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `lqtse-cache generate` here; its exit code and what it wrote to each stream."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = console.run(app, PROG, ["generate", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def start(*words: object, key: str | None = None) -> subprocess.Popen[str]:
    """Run `lqtse-cache generate` in a process of its own."""
    environment = {**os.environ, "COLUMNS": "200"}
    if key is not None:
        environment["OPENAI_API_KEY"] = key
    return subprocess.Popen(
        [sys.executable, "-c", "from pipeline.cli import main; main()", "generate"]
        + [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def captions(cache: Path) -> list[str]:
    manifest = newest_manifest(cache)
    entries = manifest.captions if manifest is not None else ()
    tables = [read_table(cache / entry.path) for entry in entries]
    return [text for table in tables for text in table.column("caption").to_pylist()]


def answered(cache: Path) -> set[str]:
    """The request ids that the ledger has answers to."""
    connection = sqlite3.connect(cache / "ledger.sqlite")
    try:
        return {row[0] for row in connection.execute("SELECT request_id FROM answers")}
    finally:
        connection.close()


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def an_error(err: str) -> str:
    """The error line; there is exactly one, and no traceback."""
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def test_captions_are_written_and_the_next_command_is_named(call: Any, tmp_path: Path) -> None:
    cache = tmp_path / "my cache"
    code, out, err = call(cache, "-n", 30, "--backend", "grammar")
    assert code == 0
    assert len(captions(cache)) == 30
    assert f"next: lqtse-cache embed '{cache}' --space tiny" in out
    assert "no language model is involved: --backend grammar" in err


def test_json_is_one_object_on_standard_output(call: Any, tmp_path: Path) -> None:
    code, out, _ = call(tmp_path, "-n", 12, "--backend", "scripted", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["captions_kept"] == facts["captions_of_this_plan"] == 12
    assert facts["share_kept"] > 0
    assert facts["next_command"].startswith("lqtse-cache embed ")


def test_once_more_says_that_all_is_there(call: Any, tmp_path: Path) -> None:
    call(tmp_path, "-n", 12, "--backend", "scripted")
    code, out, err = call(tmp_path, "-n", 12, "--backend", "scripted", "--json")
    assert code == 0
    assert "nothing to do: the cache has 12 captions of this plan" in err
    assert json.loads(out)["requests_answered"] == 0


def test_concepts_of_the_user_are_what_captions_are_about(call: Any, tmp_path: Path) -> None:
    concepts = tmp_path / "mine.txt"
    concepts.write_text("zebra\ngondola\n")
    assert call(tmp_path / "c", "-n", 6, "--backend", "grammar", "--concepts", concepts)[0] == 0
    assert all("zebra" in text or "gondola" in text for text in captions(tmp_path / "c"))


def test_a_byte_order_mark_is_no_part_of_a_concept(call: Any, tmp_path: Path) -> None:
    concepts = tmp_path / "mine.txt"
    concepts.write_bytes(b"\xef\xbb\xbfzebra\n")
    assert call(tmp_path / "c", "-n", 3, "--backend", "grammar", "--concepts", concepts)[0] == 0


def test_concepts_that_are_not_utf8_say_where(call: Any, tmp_path: Path) -> None:
    concepts = tmp_path / "mine.txt"
    concepts.write_bytes("dog\ncafé\n".encode("latin-1"))
    code, _, err = call(tmp_path / "c", "-n", 3, "--backend", "grammar", "--concepts", concepts)
    assert code == 3
    assert "byte 0xe9 at 7" in an_error(err)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("content", "code"), [("", 3), ("\n\n", 3), (None, 2)], ids=["empty", "blank", "missing"]
)
def test_concepts_that_cannot_be_used(
    call: Any, tmp_path: Path, content: str | None, code: int
) -> None:
    concepts = tmp_path / "mine.txt"
    if content is not None:
        concepts.write_text(content)
    got, _, err = call(tmp_path / "c", "-n", 3, "--backend", "grammar", "--concepts", concepts)
    assert got == code
    assert "mine.txt" in an_error(err)


def test_another_seed_on_the_same_cache_is_refused_unless_asked_for(
    call: Any, tmp_path: Path
) -> None:
    call(tmp_path, "-n", 5, "--backend", "scripted")
    code, _, err = call(tmp_path, "-n", 5, "--backend", "scripted", "--seed", 2)
    assert code == 4
    assert "--append" in an_error(err)
    words = ("-n", 5, "--backend", "scripted", "--seed", 2, "--append")
    assert call(tmp_path, *words)[0] == 0
    assert len(captions(tmp_path)) == 10


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--backend", "vllm"), 2, "--model MODEL"),
        (("--backend", "vllm", "--model", "no/such"), 2, "vllm serve"),
        (("--backend", "openai-batch"), 2, "--model NAME"),
        (("--backend", "openai"), 2, "--model NAME"),
        (("--backend", "openai", "--model", "m"), 5, "OPENAI_API_KEY"),
        (("--backend", "openai", "--model", "m", "--base-url", "nowhere"), 2, "address"),
        (("--backend", "scripted", "--max-usd", "1"), 2, "--prices"),
        (("--backend", "scripted", "--script", "goood"), 2, "goood"),
        (("--backend", "grammar", "--model", "m"), 2, "--model"),
        (("--backend", "local", "--model", "no/such.gguf"), 2, "no/such.gguf"),
        (("--backend", "scripted", "--per-request", "1000"), 2, "per_request"),
        (("--backend", "scripted", "--prices", "no/prices.json"), 2, "prices.json"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_no_cache_behind(
    call: Any, tmp_path: Path, words: Sequence[str], code: int, says: str
) -> None:
    got, _, err = call(tmp_path / "c", "-n", 3, *words)
    assert (got, says in an_error(err)) == (code, True)
    assert not (tmp_path / "c").exists()


def test_local_without_its_extra_has_the_install_lines(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "WEIGHTS_PACKAGE", "a_package_that_is_not_there")
    code, _, err = call(tmp_path / "c", "-n", 3)
    assert code == 2
    assert "make models" in an_error(err)


def test_a_server_that_is_down_names_what_is_here(call: Any, tmp_path: Path) -> None:
    words = ("--backend", "openai", "--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    code, _, err = call(tmp_path / "c", "-n", 3, *words)
    assert code == 5
    assert "--backend local" in an_error(err)
    assert "--backend grammar" in an_error(err)


def test_a_wrong_key_is_told_and_is_nowhere_in_what_is_written(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level("DEBUG")
    with ScriptedServer(key="another") as server:
        words = ("--backend", "openai", "--model", "m", "--base-url", server.url)
        code, out, err = call(tmp_path / "c", "-n", 3, *words)
    assert code == 5
    assert "OPENAI_API_KEY" in an_error(err)
    assert KEY not in out + err + caplog.text


def test_the_key_is_in_no_file_of_the_cache(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level("DEBUG")
    with ScriptedServer(key=KEY) as server:
        words = ("--backend", "openai", "--model", "m", "--base-url", server.url)
        code, out, err = call(tmp_path / "c", "-n", 10, *words)
    assert code == 0
    files = [path for path in (tmp_path / "c").rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert KEY not in out + err + caplog.text


def test_answers_that_are_not_json_are_counted_as_refused(call: Any, tmp_path: Path) -> None:
    with ScriptedServer(["good", "garbage", "refusal", "cut"]) as server:
        words = ("--backend", "openai", "--model", "m", "--base-url", server.url, "--json")
        code, out, _ = call(tmp_path / "c", "-n", 10, *words)
    facts = json.loads(out)
    assert code == 0
    assert facts["captions_kept"] == 10
    assert sum(facts["refused"].values()) > 0


def test_a_server_that_always_fails_ends_with_its_words(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.llm.retry.RetryPolicy.base", 0.0)
    monkeypatch.setattr("pipeline.llm.retry.RetryPolicy.__init__.__defaults__", (2, 0.0, 0.0, 1.0))
    with ScriptedServer(["server_error"], message="out of memory") as server:
        words = ("--backend", "openai", "--model", "m", "--base-url", server.url)
        code, _, err = call(tmp_path / "c", "-n", 3, *words)
    assert code == 5
    assert "out of memory" in an_error(err)


def test_cost_is_counted_with_prices_and_the_budget_holds(call: Any, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"scripted": {"input": 5.0, "output": 15.0}}))
    words = ("--backend", "scripted", "--prices", prices)
    code, out, _ = call(tmp_path / "c", "-n", 10, *words, "--json")
    assert code == 0
    spent = json.loads(out)["cost_in_USD"]
    assert spent > 0
    code, out, err = call(tmp_path / "c", "-n", 10_000, *words, "--max-usd", spent * 3)
    assert code == 2
    assert "--max-usd is spent with" in an_error(err)
    assert 10 < len(captions(tmp_path / "c")) < 10_000


def test_a_limit_of_tokens_is_named_when_it_ends_a_run(call: Any, tmp_path: Path) -> None:
    words = ("--backend", "scripted", "--max-tokens", 10_000)
    code, _, err = call(tmp_path / "c", "-n", 10_000, *words)
    assert code == 2
    kept = len(captions(tmp_path / "c"))
    said = an_error(err)
    assert f"--max-tokens is spent with {kept:,} of 10,000 captions" in said
    assert "a larger --max-tokens goes on from here" in said


def test_a_folder_that_cannot_be_made_is_told(call: Any) -> None:
    # A place where not even the superuser can write.
    place = Path("/sys/lqtse-test")
    if not Path("/sys/kernel").exists():
        pytest.skip("no /sys on this system")
    code, _, err = call(place, "-n", 3, "--backend", "grammar")
    assert code == 3
    assert str(place) in an_error(err)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_a_read_only_cache_is_told(call: Any, tmp_path: Path) -> None:
    cache = tmp_path / "c"
    call(cache, "-n", 3, "--backend", "grammar")
    cache.chmod(0o555)
    try:
        code, _, err = call(cache, "-n", 30, "--backend", "grammar")
    finally:
        cache.chmod(0o755)
    assert code == 3
    assert "permission denied" in an_error(err)


def test_kill_9_again_and_again_loses_nothing_and_asks_for_nothing_twice(
    call: Any, tmp_path: Path
) -> None:
    concepts = tmp_path / "concepts.txt"
    concepts.write_text(CONCEPTS)
    cache = tmp_path / "c"

    def words(folder: Path, server: ScriptedServer) -> tuple[object, ...]:
        common = ("--backend", "openai", "--model", "m", "--concurrency", 4)
        return (folder, "-n", 60, "--concepts", concepts, "--base-url", server.url, *common)

    asked_before_death: dict[str, int] = {}
    with ScriptedServer(seconds=0.03) as server:
        for calls in (4, 13):
            process = start(*words(cache, server))
            wait_until(lambda calls=calls: server.calls.total() >= calls)
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            # A look at a copy, so that nobody tidies the files up for the next run.
            look = tmp_path / f"look{calls}"
            shutil.copytree(cache, look, ignore=shutil.ignore_patterns(".*"))
            asked_before_death |= {one: server.calls[one] for one in answered(look)}
        code, _, err = call(*words(cache, server))
        assert code == 0, err
        assert asked_before_death, "it was killed with some answers there"
        for one, times in asked_before_death.items():
            assert server.calls[one] == times, "what the ledger had was not asked again"
        again = sum(times - 1 for times in server.calls.values())
        assert again <= 2 * 4, "at most what was in flight at each death"
    with ScriptedServer() as server:
        assert call(*words(tmp_path / "whole", server))[0] == 0
    assert len(captions(cache)) == 60
    assert captions(cache) == captions(tmp_path / "whole")


def test_ctrl_c_ends_with_130_and_what_was_accepted_is_there(call: Any, tmp_path: Path) -> None:
    with ScriptedServer(seconds=0.02) as server:
        words = ("--backend", "openai", "--model", "m", "--base-url", server.url)
        process = start(tmp_path / "c", "-n", 5_000, *words, "--concurrency", 2)
        wait_until(lambda: server.calls.total() >= 12)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "Traceback" not in err
        assert "stopped: " in err
        assert out == ""
        before = server.calls.copy()
        assert len(captions(tmp_path / "c")) > 0
        assert answered(tmp_path / "c") == set(before), "what was in flight arrived and was kept"
        n = len(captions(tmp_path / "c")) + 10
        assert call(tmp_path / "c", "-n", n, *words)[0] == 0
        assert len(captions(tmp_path / "c")) == n
        assert all(server.calls[one] == 1 for one in before)


@pytest.mark.local_llm
def test_a_real_language_model_on_this_machine_writes_captions(call: Any, tmp_path: Path) -> None:
    code, out, _ = call(tmp_path, "-n", 5, "--backend", "local", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["captions_kept"] == len(captions(tmp_path)) == 5
    assert facts["tokens_written"] > 0
