from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from cache_store import console
from cache_store.errors import EXIT_OK, EXIT_USAGE
from pipeline.cli.options import command_line, grouped


@dataclass(frozen=True)
class Colours:
    front: Annotated[str, typer.Option(help="Of the front.")] = "red"
    times: Annotated[int, typer.Option(min=1)] = 1


@grouped
def paint(
    place: Annotated[str, typer.Argument()],
    colours: Colours,
    n: Annotated[int, typer.Option("-n")],
    wet: Annotated[bool, typer.Option("--wet")] = False,
) -> None:
    """Paint something."""
    console.say(repr((place, colours, n, wet)))


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(paint)
    return app


def test_a_group_of_options_arrives_as_one_value(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["wall", "-n", "2", "--front", "blue", "--times", "3", "--wet"]
    assert console.run(app, "paint", words) == EXIT_OK
    assert capsys.readouterr().out == f"{('wall', Colours('blue', 3), 2, True)!r}\n"


def test_what_is_not_given_is_as_the_group_declares_it(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.run(app, "paint", ["wall", "-n", "2"]) == EXIT_OK
    assert capsys.readouterr().out == f"{('wall', Colours(), 2, False)!r}\n"


def test_the_help_and_the_checks_are_those_of_each_option(
    app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    console.run(app, "paint", ["--help"])
    out = capsys.readouterr().out
    assert "Paint something." in out
    assert "Of the front." in out
    assert console.run(app, "paint", ["wall", "-n", "2", "--times", "0"]) == EXIT_USAGE


def test_a_command_is_quoted_where_it_must_be() -> None:
    assert command_line("show", "my cache") == "lqtse-cache show 'my cache'"
