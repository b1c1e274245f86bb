from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE
from tests.pipeline.cli.conftest import Cli


def test_the_card_is_shown(captions_cache: Path, cli: Cli) -> None:
    outcome = cli("card", captions_cache)
    assert outcome.code == EXIT_OK
    assert outcome.out == (captions_cache / "README.md").read_text()
    assert "\nlicense:" not in outcome.out


def test_a_licence_is_recorded_and_stays(captions_cache: Path, cli: Cli) -> None:
    words = ("--license", "cc0-1.0", "--model-license", "none was used")
    assert cli("card", captions_cache, *words).code == EXIT_OK
    cli("embed", captions_cache, "--space", "tiny")
    card = (captions_cache / "README.md").read_text()
    assert "\nlicense: cc0-1.0\n" in card
    assert "The generating model: none was used." in card
    assert cli("verify", captions_cache).code == EXIT_OK


@pytest.mark.parametrize("licence", ["CC0 1.0", "a\nb: c", "", "-x"])
def test_what_is_no_identifier_is_refused(captions_cache: Path, cli: Cli, licence: str) -> None:
    assert cli("card", captions_cache, f"--license={licence}").code == EXIT_USAGE


def test_no_cache_has_no_card(tmp_path: Path, cli: Cli) -> None:
    assert cli("card", tmp_path / "none").code == EXIT_DATA


def test_a_generated_cache_tells_its_concepts(tmp_path: Path, cli: Cli) -> None:
    concepts = tmp_path / "mine.txt"
    concepts.write_text("dog\nrain\nkettle\n")
    words = ("--backend", "grammar", "--concepts", concepts)
    cli("generate", tmp_path / "c", "-n", 5, *words)
    card = cli("card", tmp_path / "c").out
    assert "3 mine.txt" in card
    assert "grammar (no language model)" in card
