"""`lqtse-cache compact`: rewrite a cache without what it does not need."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Optional

import typer

from cache_store import console
from pipeline.cli.options import AsJson, CacheFolder, command_line


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compact")(command)


def command(
    cache: CacheFolder,
    keep: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Manifests to keep, with the files that they name."),
    ] = 1,
    shard_rows: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            metavar="N",
            help="Captions a file: smaller ones are joined.",
            show_default="65536",
        ),
    ] = None,
    index: Annotated[
        bool,
        typer.Option("--index/--no-index", help="Build the indexes anew that the cache had."),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing: show what would be done.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rewrite a cache without removed rows, small files and old manifests.

    Embeddings and their order stay bit for bit. Killed in the middle, the cache is whole, and the
    same command goes on. A program that has the cache open may miss files afterwards: let it open
    the cache again.

    \b
    Examples:
      lqtse-cache compact my-cache --dry-run
      lqtse-cache compact my-cache
      lqtse-cache compact my-cache --keep 3
    """
    from cache_store.compact import compact_cache
    from cache_store.compact_plan import SHARD_ROWS

    with console.progress("compact", None, "captions") as advance:
        report = compact_cache(
            cache,
            keep=keep,
            shard_rows=shard_rows or SHARD_ROWS,
            index=index,
            dry=dry_run,
            progress=advance,
        )
    following = command_line("compact", cache) if report.dry else command_line("verify", cache)
    if as_json:
        console.summarise(asdict(report), as_json=True, next_command=following)
        return
    for text in report.notes:
        console.note(f"note: {text}")
    facts: dict[str, object] = {
        "captions": report.rows,
        "removed rows left out": report.removed,
        "files of rows": f"{report.files_before:,} before, {report.files_after:,} after, "
        f"{report.rewritten:,} of them new",
        "old manifests": report.manifests,
        "files that no manifest needs": report.files,
        "bytes freed": report.bytes,
    }
    if report.indexes:
        facts["indexes built"] = ", ".join(report.indexes)
    title = f"{cache}, nothing was changed" if report.dry else f"compacted {cache}"
    if report.dry:
        facts["bytes freed"] = f"{report.bytes:,} as it is; rewriting frees more"
    console.summarise(facts, as_json=False, next_command=following, title=title)
