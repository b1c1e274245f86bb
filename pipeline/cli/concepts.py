"""`lqtse-cache concepts`: the list of sounds that captions are written about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from cache_store import console
from pipeline.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("concepts")(command)


def command(
    concepts: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Your own list: one a line (.txt), .csv, or AudioSet's ontology (.json).",
            show_default="our own list",
        ),
    ] = None,
    group: Annotated[
        Optional[list[str]],
        typer.Option(metavar="GROUP", help="Only this group; may be repeated.", show_default="all"),
    ] = None,
    without: Annotated[
        Optional[list[str]],
        typer.Option(metavar="GROUP", help="Not this group; may be repeated.", show_default="none"),
    ] = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="Show the groups and their sizes instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the sounds that captions are written about, as lines of a file for --concepts.

    \b
    Examples:
      lqtse-cache concepts --groups
      lqtse-cache concepts --without animals --without insects > no-animals.txt
      lqtse-cache generate my-cache -n 300 --concepts no-animals.txt
    """
    from pipeline.concepts import concept_lines, read_concepts, select_groups

    bank = select_groups(read_concepts(concepts), only=group or (), without=without or ())
    if as_json:
        rows = [{"concept": concept.name, "group": concept.group} for concept in bank]
        console.summarise({"concepts": rows, "groups": bank.groups()}, as_json=True)
    elif groups:
        console.summarise(bank.groups(), as_json=False)
    else:
        for line in concept_lines(bank):
            console.say(line)
