from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cache_store.manifest import newest_manifest
from pipeline.llm.scripted import Call
from pipeline.llm.scripted_server import ScriptedServer
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.llm.requests import NAMES
from tests.pipeline.materials import write_lines

# Two of the first five requests get no answer; the rest are good, but for a refusal.
SCRIPT = {1: "not_an_api", 3: "not_an_api", 4: "refusal"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("pipeline.llm.retry.RetryPolicy.__init__.__defaults__", (2, 0.0, 0.0, 1.0))


class Flaky:
    """Requests are told apart by when they came first."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.well = False

    def __call__(self, call: Call) -> str:
        if call.request.id not in self.order:
            self.order.append(call.request.id)
        return "good" if self.well else SCRIPT.get(self.order.index(call.request.id), "good")


def test_status_and_retry_after_a_bad_day(cli: Cli, tmp_path: Path) -> None:
    cache, script = tmp_path / "c", Flaky()
    with ScriptedServer(script) as server:
        options: tuple[Any, ...] = ("--backend", "openai", "--model", "m", "--base-url", server.url)
        made = cli("generate", cache, "-n", 30, *options, "--concurrency", 1, "--json")
        assert made.code == 0
        assert made.json["captions_kept"] == 30
        assert made.json["requests_without_an_answer"] == {"no_answer: not_an_answer": 2}
        assert f"lqtse-cache retry {cache}" in made.err
        (plan,) = cli("status", cache, "--json").json["plans"]
        assert plan["failed"] == {"no_answer: not_an_answer": 2}
        assert plan["unusable"] == {"refusal": 1}
        seen = cli("status", cache)
        assert re.search(r"^  failed +no_answer: not_an_answer 2$", seen.out, re.MULTILINE)
        assert seen.out.endswith(f"next: lqtse-cache retry {cache}\n")
        script.well, asked = True, server.calls.total()
        again = cli("retry", cache, *options, "--json")
        assert again.code == 0
        assert (again.json["failures"], again.json["answered_now"]) == (2, 2)
        assert again.json["still_failed"] == {"refusal": 1}
        assert server.calls.total() == asked + 2
        once_more = cli("retry", cache, *options)
        assert "every request has an answer" in once_more.err
        refused = cli("retry", cache, *options, "--refused", "--json")
        assert (refused.json["answered_now"], refused.json["still_failed"]) == (1, {})
        assert server.calls.total() == asked + 3
    (plan,) = cli("status", cache, "--json").json["plans"]
    assert (plan["failed"], plan["unusable"]) == ({}, {})
    assert plan["captions"] == 30 + again.json["captions_kept"] + refused.json["captions_kept"]
    assert cli("verify", cache).code == 0


def test_with_workers_it_asks_the_same_and_notes_whose_concepts_they_are(
    cli: Cli, tmp_path: Path
) -> None:
    cache, script = tmp_path / "c", Flaky()
    concepts = write_lines(tmp_path / "mine.txt", NAMES)
    with ScriptedServer(script) as server:
        options: tuple[Any, ...] = (
            *("--backend", "openai", "--model", "m", "--base-url", server.url),
            *("--concepts", concepts),
        )
        made = cli("generate", cache, "-n", 30, *options, "--concurrency", 1, "--json")
        failed = sum(made.json["requests_without_an_answer"].values())
        script.well, asked = True, server.calls.total()
        again = cli("retry", cache, *options, "--workers", 2, "--json")
        assert again.code == 0
        assert (again.json["failures"], again.json["answered_now"]) == (failed, failed) == (2, 2)
        assert server.calls.total() == asked + failed
    manifest = newest_manifest(cache)
    assert manifest is not None
    first, second = manifest.provenance
    assert (first["step"], second["step"]) == ("generate", "retry")
    assert first["concepts_from"] == second["concepts_from"] == "mine.txt"
    assert "mine.txt" in cli("card", cache).out


def test_a_dead_server_is_one_line_and_code_5(cli: Cli, tmp_path: Path) -> None:
    cache = tmp_path / "c"
    with ScriptedServer(Flaky()) as server:
        options: tuple[Any, ...] = ("--backend", "openai", "--model", "m", "--base-url", server.url)
        cli("generate", cache, "-n", 30, *options, "--concurrency", 1)
    outcome = cli("retry", cache, *options)
    assert outcome.code == 5
    assert "no connection to the server" in outcome.error


def test_other_settings_are_named(cli: Cli, tmp_path: Path) -> None:
    cli("generate", tmp_path / "c", "-n", 5, "--backend", "scripted")
    outcome = cli("retry", tmp_path / "c", "--backend", "scripted", "--seed", 7)
    assert outcome.code == 4
    assert "expected seed 0" in outcome.error
    outcome = cli("retry", tmp_path / "c", "--backend", "scripted")
    assert (outcome.code, "nothing failed in this plan" in outcome.err) == (0, True)


def test_a_folder_without_captions_of_a_model(cli: Cli, captions_cache: Path) -> None:
    outcome = cli("retry", captions_cache, "--backend", "scripted")
    assert outcome.code == 3
    assert "nothing to ask again" in outcome.error
    seen = cli("status", captions_cache)
    assert seen.code == 0
    assert "no captions were asked for here: no ledger" in seen.err
