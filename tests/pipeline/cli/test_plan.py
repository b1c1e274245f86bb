from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE
from pipeline.cli.asking import TEMPLATES
from pipeline.ledger import open_ledger
from pipeline.llm.scripted_server import ScriptedServer
from prompts.plan import Plan
from tests.pipeline.cli.conftest import Cli, Powerless
from tests.pipeline.llm.llama_server import llama_server

SCRIPTED = ("--backend", "scripted")
WITHIN = 0.15  # of all tokens: what a plan promises


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a folder: its bytes and when it was changed."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check(planned: Any, used: Any) -> None:
    """What a run used lies within the promise, and within the plan's own range."""
    names = ("tokens_read", "tokens_written")
    foretold = sum(planned[name]["expected"] for name in names)
    assert sum(used[name] for name in names) == pytest.approx(foretold, rel=WITHIN)
    for name in names:
        assert planned[name]["low"] <= used[name] <= planned[name]["high"], name


def test_a_cache_that_is_not_there_is_planned_and_not_made(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("plan", tmp_path / "c", "-n", 300, *SCRIPTED)
    assert outcome.code == EXIT_OK
    assert "0, 300 missing" in outcome.out
    assert f"next: lqtse-cache generate {tmp_path / 'c'} -n 300 --backend scripted" in outcome.out
    assert list(tmp_path.iterdir()) == []


def test_a_run_then_uses_what_the_plan_said(tmp_path: Path, cli: Cli) -> None:
    planned = cli("plan", tmp_path / "c", "-n", 200, *SCRIPTED, "--json").json
    used = cli("generate", tmp_path / "c", "-n", 200, *SCRIPTED, "--json").json
    check(planned, used)
    answered = used["requests_answered"]
    sent = planned["requests_sent"]
    assert sent["low"] <= answered <= sent["high"]


def test_the_next_plan_rests_on_the_runs_own_answers(tmp_path: Path, cli: Cli) -> None:
    words = (*SCRIPTED, "--script", "good,good,refusal,cut")
    cli("generate", tmp_path, "-n", 150, *words)
    planned = cli("plan", tmp_path, "-n", 400, *words, "--json").json
    assert (planned["captions_of_this_plan"], planned["missing"]) == (150, 250)
    assert "of this plan in this cache" in planned["assumed"]["share kept"]["source"]
    assert planned["tokenizer"]["corrected by answers"] > 40
    check(planned, cli("generate", tmp_path, "-n", 400, *words, "--json").json)


def test_nothing_is_written_by_whoever_plans(cli: Cli, powerless: Powerless) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        cache = Path(folder) / "c"
        cli("generate", cache, "-n", 50, *SCRIPTED)
        before = contents(cache)
        for path in (cache, *cache.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        with powerless():
            outcome = cli("plan", cache, "-n", 90, *SCRIPTED)
        assert outcome.code == EXIT_OK, outcome.err
        assert contents(cache) == before
        for path in (cache, *cache.rglob("*")):
            path.chmod(0o755)


def test_nothing_is_written_beside_a_run_that_died(tmp_path: Path, cli: Cli) -> None:
    """A ledger whose last writes are in its -wal file, as after kill -9."""
    cli("generate", tmp_path / "c", "-n", 50, *SCRIPTED)
    copy = tmp_path / "copy"
    with contextlib.closing(sqlite3.connect(tmp_path / "c" / "ledger.sqlite")) as connection:
        connection.execute("UPDATE attempts SET worst_usd = 0")
        connection.commit()
        shutil.copytree(tmp_path / "c", copy)
    names = {path.name for path in copy.iterdir()}
    assert "ledger.sqlite-wal" in names
    assert cli("plan", copy, "-n", 90, *SCRIPTED).code == EXIT_OK
    assert {path.name for path in copy.iterdir()} == names


def test_answers_in_the_ledger_are_not_planned_again(tmp_path: Path, cli: Cli) -> None:
    cache, copy = tmp_path / "c", tmp_path / "copy"
    cli("generate", cache, "-n", 100, *SCRIPTED)
    copy.mkdir()
    (copy / "ledger.sqlite").write_bytes((cache / "ledger.sqlite").read_bytes())
    with contextlib.closing(sqlite3.connect(copy / "ledger.sqlite")) as connection:
        (there,) = connection.execute("SELECT count(*) FROM answers").fetchone()
    planned = cli("plan", copy, "-n", 1000, *SCRIPTED, "--json").json
    assert planned["answered_already"] == there
    sent = planned["requests"]["expected"] - planned["requests_sent"]["expected"]
    assert sent == pytest.approx(there)


def test_all_there_means_that_nothing_is_asked(tmp_path: Path, cli: Cli) -> None:
    cli("generate", tmp_path, "-n", 20, *SCRIPTED)
    outcome = cli("plan", tmp_path, "-n", 20, *SCRIPTED)
    assert "20, 0 missing" in outcome.out
    assert "next: lqtse-cache embed" in outcome.out


def test_another_plan_is_said_to_need_append(tmp_path: Path, cli: Cli) -> None:
    cli("generate", tmp_path, "-n", 20, *SCRIPTED)
    outcome = cli("plan", tmp_path, "-n", 20, *SCRIPTED, "--seed", 5)
    assert "generate will want --append" in outcome.err
    assert outcome.out.splitlines()[-1].endswith("--append")


def test_cost_and_what_a_budget_is_enough_for(tmp_path: Path, cli: Cli) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"gpt-x": {"input": 1.0, "output": 2.0}}))
    words = ("--backend", "openai", "--model", "gpt-x", "--prices", prices)
    planned = cli("plan", tmp_path / "c", "-n", 5000, *words, "--json").json
    cost = planned["tokens_read"]["expected"] + 2 * planned["tokens_written"]["expected"]
    assert planned["cost_in_USD"]["expected"] == pytest.approx(cost / 1e6)
    assert planned["affordable_captions"] is None
    half = planned["cost_in_USD"]["expected"] / 2
    capped = cli("plan", tmp_path / "c", "-n", 5000, *words, "--max-usd", half, "--json").json
    assert capped["affordable_captions"] == pytest.approx(2500, abs=1)
    tokens = planned["tokens_read"]["expected"] + planned["tokens_written"]["expected"]
    few = (*words, "--max-usd", half, "--max-tokens", round(tokens / 5))
    capped = cli("plan", tmp_path / "c", "-n", 5000, *few, "--json").json
    assert capped["affordable_captions"] == pytest.approx(1000, abs=2)
    said = cli("plan", tmp_path / "c", "-n", 5000, *few).out
    assert "--max-tokens is enough for" in said and "--max-usd is enough for" not in said
    assert "--max-tokens" in said.splitlines()[-1], "generate is told the same limit"


def test_tokens_that_were_spent_before_are_not_there_to_plan_with(tmp_path: Path, cli: Cli) -> None:
    cli("generate", tmp_path, "-n", 50, *SCRIPTED)
    with open_ledger(tmp_path) as ledger:
        spent = ledger.totals().spent.tokens
    found = cli("plan", tmp_path, "-n", 500, *SCRIPTED, "--max-tokens", spent, "--json").json
    assert found["affordable_captions"] == 0


def test_a_large_plan_is_sampled_and_says_how_well(tmp_path: Path, cli: Cli) -> None:
    planned = cli("plan", tmp_path / "c", "-n", 10**6, *SCRIPTED, "--json").json
    counted = planned["tokenizer"]
    assert counted["requests counted"] < 1000
    assert 0 < counted["standard error"] < 0.01
    # The same plan over more of its requests, as an oracle.
    plan = Plan(model="scripted", template=TEMPLATES["chat"])
    needed = round(planned["requests"]["expected"])
    some = [plan.request(place) for place in range(0, needed, needed // 2000)]
    sizes = [(sum(len(one["content"]) for one in r.messages) + 3) // 4 for r in some]
    mean = sum(sizes) / len(sizes)
    each = planned["assumed"]["tokens a request"]["expected"]
    assert each == pytest.approx(mean, rel=4 * counted["standard error"])


def test_time_needs_a_pace(tmp_path: Path, cli: Cli) -> None:
    words = ("plan", tmp_path / "c", "-n", 850, *SCRIPTED)
    assert "not known: give --seconds-per-answer" in cli(*words).out
    planned = cli(*words, "--seconds-per-answer", 2, "--concurrency", 4, "--json").json
    assert planned["seconds"]["expected"] == pytest.approx(planned["requests"]["expected"] / 2)


SERVER = ("--backend", "openai", "--model", "m")


def test_of_a_server_that_nobody_asked_the_pace_is_assumed_and_said_to_be(
    tmp_path: Path, cli: Cli
) -> None:
    words = ("plan", tmp_path / "c", "-n", 850, *SERVER)
    said = cli(*words).out
    assert re.search(
        r"time +.* by the model's pace \(assumed: .* s an answer .*8 in flight\)", said
    )
    eight, sixteen = (cli(*words, "--concurrency", c, "--json").json["seconds"] for c in (8, 16))
    assert eight["expected"] == pytest.approx(2 * sixteen["expected"])
    assert eight["low"] < eight["expected"] / 2 and eight["high"] > eight["expected"] * 2
    limited = cli(*words, "--rpm", 10).out
    assert "by the limit on requests (the model's pace: assumed" in limited


def test_a_pace_that_was_seen_is_better_than_one_assumed(tmp_path: Path, cli: Cli) -> None:
    with ScriptedServer() as server:
        words = (tmp_path / "c", "-n", 60, *SERVER, "--base-url", server.url)
        assert cli("generate", *words).code == 0
        planned = cli("plan", tmp_path / "c", "-n", 600, *words[3:], "--json").json
    assert planned["assumed"]["pace"].startswith("the last run here")


def test_how_long_a_batch_takes_is_not_guessed(tmp_path: Path, cli: Cli) -> None:
    words = ("plan", tmp_path / "c", "-n", 50, "--backend", "openai-batch", "--model", "m")
    assert "the server takes minutes to a day for each batch" in cli(*words).out
    assert cli(*words, "--json").json["seconds"] is None


def test_what_the_user_knows_better(tmp_path: Path, cli: Cli) -> None:
    words = ("--share-kept", 0.5, "--tokens-per-answer", 90, "--json")
    planned = cli("plan", tmp_path / "c", "-n", 100, *SCRIPTED, *words).json
    assert planned["requests"]["expected"] == 40
    assert planned["tokens_written"]["expected"] == 3600
    assert planned["assumed"]["share kept"]["source"] == "as stated"


def test_whole_prompts_are_shown_as_they_would_be_sent(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("plan", tmp_path / "c", "-n", 9, *SCRIPTED, "--show", 2)
    request = Plan(model="scripted", template=TEMPLATES["chat"]).request(1)
    for text in (*request.messages[1]["content"].splitlines(), request.id, "--- request 1 ---"):
        assert text in outcome.out
    prompts = cli("plan", tmp_path / "c", "-n", 9, *SCRIPTED, "--show", 2, "--json").json["prompts"]
    assert prompts[1]["messages"] == list(request.messages)
    assert (prompts[1]["seed"], prompts[1]["request_id"]) == (request.seed, request.id)


def test_concepts_cannot_reach_the_terminal_raw(tmp_path: Path, cli: Cli) -> None:
    concepts = tmp_path / "mine.txt"
    concepts.write_text("dog\x1b]0;owned\x07\n")
    outcome = cli("plan", tmp_path / "c", "-n", 3, *SCRIPTED, "--concepts", concepts, "--show", 1)
    assert "\x1b" not in outcome.out + outcome.err


def test_no_key_is_needed_to_plan(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("plan", tmp_path / "c", "-n", 3, "--backend", "openai", "--model", "gpt-4o-mini")
    assert outcome.code == EXIT_OK


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--backend", "openai"), EXIT_USAGE, "--model NAME"),
        ((*SCRIPTED, "--tokenizer", "no/such.json"), EXIT_USAGE, "no such tokenizer"),
        ((*SCRIPTED, "--per-request", "1000"), EXIT_USAGE, "per_request"),
        ((*SCRIPTED, "--concepts", "none.txt"), EXIT_USAGE, "none.txt"),
    ],
)
def test_what_cannot_work_is_one_line(
    tmp_path: Path, cli: Cli, words: tuple[str, ...], code: int, says: str
) -> None:
    outcome = cli("plan", tmp_path / "c", "-n", 3, *words)
    assert (outcome.code, says in outcome.error) == (code, True)


def test_a_folder_of_something_else_is_refused_as_generate_would(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    assert cli("plan", tmp_path, "-n", 3, *SCRIPTED).code == EXIT_USAGE


def test_a_damaged_ledger_is_told(tmp_path: Path, cli: Cli) -> None:
    cli("generate", tmp_path, "-n", 10, *SCRIPTED)
    (tmp_path / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"garbage" * 1000)
    outcome = cli("plan", tmp_path, "-n", 30, *SCRIPTED)
    assert (outcome.code, "ledger" in outcome.error) == (EXIT_DATA, True)


def test_no_connection_is_made(tmp_path: Path) -> None:
    """In a process whose sockets all fail."""
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('a connection was made')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from pipeline.cli import main; main()"
    )
    words = ["plan", str(tmp_path / "c"), "-n", "50", "--backend", "openai", "--model", "gpt-4o"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == EXIT_OK, done.stderr


@pytest.mark.local_llm
@pytest.mark.timeout(900)
def test_a_real_server_then_uses_what_the_plan_said(tmp_path: Path, cli: Cli) -> None:
    from pipeline.llm.weights import find_weights

    words = ("--backend", "openai", "--model", "SmolLM2-135M-Instruct", "--style", "completion")
    counted = ("--tokenizer", find_weights(), "--json")
    planned = cli("plan", tmp_path / "c", "-n", 60, *words, *counted).json
    assert planned["tokenizer"]["error"] == 0
    with llama_server() as url:
        more = ("--base-url", url, "--concurrency", 1, "--json")
        used = cli("generate", tmp_path / "c", "-n", 60, *words, *more).json
    check(planned, used)
