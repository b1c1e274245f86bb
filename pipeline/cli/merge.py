"""`lqtse-cache merge`: several caches of one space as a new one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cache_store import console
from pipeline.cli.options import AsJson, command_line


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("merge")(command)


def command(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The new cache's folder.", show_default=False)
    ],
    caches: Annotated[
        list[Path],
        typer.Argument(metavar="CACHE...", help="Two caches at least.", show_default=False),
    ],
    copy: Annotated[
        bool,
        typer.Option(
            "--copy", help="Copy whole files, rather than let both caches name the same bytes."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing: show what would be taken.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make one cache of several whose embeddings are of one space.

    Each caption comes once, from the first cache that has it. Removed captions stay behind, rejects
    and provenance come along, ledgers do not: go on generating in the caches that began.

    \b
    Examples:
      lqtse-cache merge all speech animals machines
      lqtse-cache merge all speech animals --dry-run
    """
    from cache_store.merge import merge_caches

    with console.progress("merge", None, "captions") as advance:
        report = merge_caches(out, caches, copy=copy, dry=dry_run, progress=advance)
    if report.dry:
        following = command_line("merge", out, *caches)
    elif report.embedded < report.captions:
        following = command_line("embed", out)
    else:
        following = command_line("index", out)
    if as_json:
        console.summarise(asdict(report), as_json=True, next_command=following)
        return
    for one in report.inputs:
        left = f", {one.removed:,} removed ones left behind" if one.removed else ""
        console.say(
            f"  {one.taken:>9,} of {one.captions:,} from {one.name}, "
            f"{one.duplicates:,} there already{left}"
        )
    facts = {
        "captions": report.captions,
        "embedded": report.embedded,
        "refused": report.refused,
        "space": report.space or "nothing is embedded",
        "files taken as they are": report.linked,
        "files written": report.written,
    }
    title = f"merged into {out}"
    if report.dry:
        title = f"{out}, nothing was written"
    elif report.already:
        title = f"{out} is there already, of these caches"
    console.summarise(facts, as_json=False, next_command=following, title=title)
