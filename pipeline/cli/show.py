"""`lqtse-cache show`: a few rows of a cache, as they are."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Optional

import typer

from cache_store import console
from pipeline.cli.options import AsJson, CacheFolder


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show")(command)


def command(
    cache: CacheFolder,
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="How many, at most.")] = 10,
    seed: Annotated[
        Optional[int],
        typer.Option(
            min=0, metavar="S", help="Draw them at random.", show_default="the first ones"
        ),
    ] = None,
    rejects: Annotated[bool, typer.Option("--rejects", help="What was refused, and why.")] = False,
    shard: Annotated[
        Optional[str],
        typer.Option(
            metavar="FILE",
            help="One file only: how its path, or its name, begins.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show some captions, or what was refused.

    \b
    Examples:
      lqtse-cache show my-cache --rows 5 --seed 1
      lqtse-cache show my-cache --rejects
      lqtse-cache show my-cache --shard data/3f2a
    """
    from pipeline.peek import peek

    seen = peek(cache, count=rows, seed=seed, rejects=rejects, shard=shard)
    if as_json:
        file = asdict(seen.file) if seen.file else None
        console.summarise({"rows": seen.rows, "total": seen.total, "file": file}, as_json=True)
        return
    if seen.file is not None:
        file_facts = asdict(seen.file)
        console.note(", ".join(f"{name} {value}" for name, value in file_facts.items() if value))
    width = max(len(f"{row['row']:,}") for row in seen.rows)
    for row in seen.rows:
        reason = f"{row['reason']}: " if "reason" in row else ""
        concepts = f"  [{', '.join(row['concepts'])}]" if row["concepts"] else ""
        console.say(f"{row['row']:>{width},}  {reason}{row['caption']}{concepts}")
    console.note(f"{len(seen.rows):,} of {seen.total:,} rows")
