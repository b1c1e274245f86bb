from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest

from cache_store.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE
from pipeline.cli.export import Target
from pipeline.export import FORMATS
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import captions


def test_the_command_knows_every_format() -> None:
    assert [one.value for one in Target] == list(FORMATS)


def test_texts_are_written_and_told(captions_cache: Path, tmp_path: Path, cli: Cli) -> None:
    outcome = cli("export", captions_cache, tmp_path / "a.csv", "--to", "csv", "--json")
    assert outcome.code == EXIT_OK
    assert (outcome.json["captions"], outcome.json["removed_ones_left_out"]) == (12, 0)
    with (tmp_path / "a.csv").open(encoding="utf-8") as file:
        assert [row["caption"] for row in csv.DictReader(file)] == captions(12)
    again = cli("export", captions_cache, tmp_path / "a.csv", "--to", "csv")
    assert again.code == EXIT_USAGE
    assert "the output exists" in again.error


@pytest.mark.parametrize("to", ["embedding-atlas", "lance"])
def test_the_command_that_opens_it_is_printed(
    embedded_cache: Path, tmp_path: Path, cli: Cli, to: str
) -> None:
    output = tmp_path / f"my captions{FORMATS[to].suffix}"
    outcome = cli("export", "--to", to, embedded_cache, output)
    assert outcome.code == EXIT_OK, outcome.err
    last = outcome.out.splitlines()[-1]
    assert last.startswith("next: ")
    opened = shlex.split(last.removeprefix("next: "))
    assert opened[0] == ("python" if to == "lance" else "embedding-atlas")
    assert output.exists()


def test_captions_without_embeddings_cannot_be_drawn(
    captions_cache: Path, tmp_path: Path, cli: Cli
) -> None:
    outcome = cli("export", captions_cache, tmp_path / "a.lance", "--to", "lance")
    assert outcome.code == EXIT_DATA
    assert "lqtse-cache embed" in outcome.error


def test_an_unknown_format_is_a_usage_error(captions_cache: Path, cli: Cli) -> None:
    assert cli("export", captions_cache, "a.x", "--to", "x").code == EXIT_USAGE
