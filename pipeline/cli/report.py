"""`lqtse-cache report`: one page about a cache."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from cache_store import console
from pipeline.cli.options import (
    AsJson,
    CacheFolder,
    Device,
    SpaceSpec,
    command_line,
    progress,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(command)


def command(
    cache: CacheFolder,
    queries: Annotated[
        Optional[Path],
        typer.Option(
            metavar="AUDIO",
            help="Recordings (a folder, or a manifest; stored embeddings are used as they are): "
            "shows the modality gap, and hubs.",
            show_default=False,
        ),
    ] = None,
    space_name: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="Which model made the clips' embeddings, where the file does not say it.",
            show_default=False,
        ),
    ] = None,
    space: SpaceSpec = None,
    device: Device = "auto",
    output: Annotated[
        Optional[Path],
        typer.Option(
            "--output", "-o", metavar="FILE", help="The page.", show_default="report/index.html"
        ),
    ] = None,
    manifest: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            metavar="N",
            help="Tell of the cache as it was at this manifest.",
            show_default="the newest",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one page: what is in a cache, what was refused, where it came from.

    The page is one file, without scripts, and loads nothing.

    \b
    Examples:
      lqtse-cache report my-cache
      lqtse-cache report my-cache --queries recordings/
      lqtse-cache report my-cache --manifest 3 -o then.html
    """
    from pipeline.report import write_report

    page, told = write_report(
        cache,
        output=output,
        queries=queries,
        space_name=space_name,
        space=space,
        device=device,
        manifest=manifest,
        progress=progress("hear the queries", "clips"),
    )
    facts: dict[str, Any] = {
        "page": str(page),
        "captions": told.stats["captions"],
        "embedded": told.stats["embedded"],
        "concepts": told.description.concepts,
        "refused": told.rejects.refused,
    }
    if told.meeting is not None:
        if told.meeting.rejected:
            console.warn(f"{told.meeting.rejected:,} recordings cannot be used")
        if as_json:
            facts["audio"] = asdict(told.meeting)
        else:
            facts["gap"] = told.meeting.gap
            facts["captions nearest to any clip"] = told.meeting.used
    console.summarise(
        facts,
        as_json=as_json,
        next_command=command_line("verify", cache),
        title=f"a report of {cache}",
    )
