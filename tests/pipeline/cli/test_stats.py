from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import EXIT_DATA, EXIT_OK
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import write_lines


def test_an_embedded_cache(embedded_cache: Path, cli: Cli) -> None:
    facts = cli("stats", embedded_cache, "--json").json
    assert (facts["captions"], facts["embedded"], facts["space"]) == (12, 12, "elsewhere")
    assert sum(facts["captions_by_words"].values()) == 12
    assert facts["models"] == {"not by a model": 12}
    assert 1.0 <= facts["Vendi_score_of_the_sample"] <= 12.0
    assert -1.0 <= facts["mean_cosine_of_two_captions"] <= 1.0
    assert facts["next_command"].startswith("lqtse-cache index")


def test_captions_that_wait(captions_cache: Path, cli: Cli) -> None:
    outcome = cli("stats", captions_cache)
    assert outcome.code == EXIT_OK
    assert "next: lqtse-cache embed" in outcome.out
    assert "None" not in outcome.out


def test_the_next_command_after_all_is_done(embedded_cache: Path, cli: Cli) -> None:
    cli("index", embedded_cache)
    assert (
        cli("stats", embedded_cache, "--json").json["next_command"].startswith("lqtse-cache verify")
    )


def test_no_cache(tmp_path: Path, cli: Cli) -> None:
    assert cli("stats", tmp_path).code == EXIT_DATA


def test_what_was_refused_by_reason_register_and_concept(tmp_path: Path, cli: Cli) -> None:
    words = ("--backend", "scripted", "--script", "good,refusal,garbage")
    made = cli("generate", tmp_path / "c", "-n", 20, *words, "--json").json
    rejects = cli("stats", tmp_path / "c", "--json").json["rejects"]
    assert {one["name"]: one["refused"] for one in rejects["reasons"]} == made["refused"]
    assert rejects["refused"] + 20 == rejects["judged"]
    assert sum(one["share"] for one in rejects["reasons"]) == (
        pytest.approx(rejects["refused"] / rejects["judged"])
    )
    assert sum(one["refused"] for one in rejects["registers"].values()) == rejects["refused"]
    assert sum(one["refused"] for one in rejects["concepts"].values()) == rejects["refused"]
    out = cli("stats", tmp_path / "c").out
    assert f"refused: {rejects['refused']} of {rejects['judged']}" in out
    assert "most refused registers: " in out
    assert "I'm sorry" in out


def test_rejects_of_before_their_axes_were_noted_are_counted(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cache_store import schema

    early = tuple(column for column in schema.REJECT_COLUMNS if column[0] != "axes")
    source = write_lines(tmp_path / "in.txt", ["a dog", "x" * 1500])
    with monkeypatch.context() as past:
        past.setattr(schema, "REJECT_COLUMNS", early)
        assert cli("import", tmp_path / "c", "--captions", source).code == EXIT_OK
    rejects = cli("stats", tmp_path / "c", "--json").json["rejects"]
    assert (rejects["refused"], rejects["registers"]) == (1, {})
    assert cli("verify", tmp_path / "c").code == EXIT_OK
