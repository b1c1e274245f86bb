"""`lqtse-cache search`: the captions nearest to a text or a recording."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from cache_store import console
from pipeline.cli.index import Kind
from pipeline.cli.options import AsJson, CacheFolder, Centred, Device, Neighbours, SpaceSpec


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(command)


def command(
    cache: CacheFolder,
    text: Annotated[
        Optional[str], typer.Argument(metavar="TEXT", help="The query.", show_default=False)
    ] = None,
    audio: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="A recording as the query.", show_default=False),
    ] = None,
    k: Neighbours = 8,
    kind: Annotated[Kind, typer.Option(help="How to search.")] = Kind.auto,
    space: SpaceSpec = None,
    space_name: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="Which model made the embeddings of stored:FILE, where the file does not say it.",
            show_default=False,
        ),
    ] = None,
    centred: Centred = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the captions nearest to a text or a recording.

    \b
    Examples:
      lqtse-cache search my-cache "a dog barking" -k 5
      lqtse-cache search my-cache --audio recording.wav
    """
    from pipeline.searching import search_cache

    report = search_cache(
        cache,
        text=text,
        audio=audio,
        k=k,
        kind=kind.value,
        space=space,
        space_name=space_name,
        device=device,
        centred=centred,
    )
    if report.stored:
        console.note(f"the query is a caption of the cache; its embedding is from {report.space}")
    if as_json:
        facts = {
            "query": text if text is not None else str(audio),
            "space": report.space,
            "kind": report.kind,
            "why": report.reason,
            "centred": report.centred,
            "results": [asdict(found) for found in report.found],
        }
        console.summarise(facts, as_json=True)
        return
    console.note(f"{report.kind} search ({report.reason}), space {report.space}")
    width = len(str(len(report.found)))
    for found in report.found:
        console.say(f"{found.rank:>{width}}  {found.score:+.4f}  {found.caption}")
