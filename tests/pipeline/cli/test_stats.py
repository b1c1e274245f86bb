from __future__ import annotations

from pathlib import Path

from cache_store.errors import EXIT_DATA, EXIT_OK
from tests.pipeline.cli.conftest import Cli


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
