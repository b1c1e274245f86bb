from __future__ import annotations

from pathlib import Path

from cache_store.errors import EXIT_DATA, EXIT_OK, EXIT_USAGE
from pipeline.concepts import read_concepts
from prompts.bank import ConceptBank
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.materials import write_lines


def test_the_lines_are_a_file_that_gives_the_same_concepts(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("concepts")
    assert outcome.code == EXIT_OK
    (tmp_path / "all.txt").write_text(outcome.out, encoding="utf-8")
    assert read_concepts(tmp_path / "all.txt") == ConceptBank.builtin()


def test_groups_are_chosen_and_left_out(tmp_path: Path, cli: Cli) -> None:
    everything = ConceptBank.builtin().groups()
    fewer = cli("concepts", "--without", "animals", "--without", "insects", "--json").json
    assert len(fewer["concepts"]) == sum(everything.values()) - (
        everything["animals"] + everything["insects"]
    )
    assert {"animals", "insects"}.isdisjoint(fewer["groups"])
    only = cli("concepts", "--group", "insects", "--json").json
    assert only["groups"] == {"insects": everything["insects"]}
    shown = cli("concepts", "--groups").out
    assert [line.split() for line in shown.splitlines()][1] == [
        "animals",
        str(everything["animals"]),
    ]


def test_a_list_of_ones_own_keeps_its_names(tmp_path: Path, cli: Cli) -> None:
    source = write_lines(tmp_path / "own.txt", ["dog", "machines: teleporter", "humming fridge"])
    outcome = cli("concepts", "--concepts", source)
    assert outcome.out.splitlines() == ["animals: dog", "machines: teleporter", "humming fridge"]


def test_a_group_that_does_not_exist_is_told_with_those_that_do(cli: Cli) -> None:
    outcome = cli("concepts", "--without", "animal")
    assert outcome.code == EXIT_USAGE
    assert "animal" in outcome.error and "animals" in outcome.error


def test_nothing_left_and_nothing_to_read(tmp_path: Path, cli: Cli) -> None:
    source = write_lines(tmp_path / "own.txt", ["a: one", "a: two"])
    assert cli("concepts", "--concepts", source, "--without", "a").code == EXIT_USAGE
    empty = write_lines(tmp_path / "empty.txt", ["", "# nothing"])
    assert cli("concepts", "--concepts", empty).code == EXIT_DATA
