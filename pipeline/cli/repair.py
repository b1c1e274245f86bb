"""`lqtse-cache repair`: make a damaged cache whole again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cache_store import console
from cache_store.errors import EXIT_DATA
from pipeline.cli.options import AsJson, CacheFolder, command_line


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("repair")(command)


def command(
    cache: CacheFolder,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing: show what would be done.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild what is damaged, move aside what cannot be rebuilt, and say what was lost.

    Damaged files go to the folder quarantine, each with a note; none is deleted. Ends with code 3
    if a row is lost or something is still wrong, and in a dry run if there is anything to do.

    \b
    Examples:
      lqtse-cache repair my-cache --dry-run
      lqtse-cache repair my-cache
    """
    from cache_store.repair import repair_cache
    from pipeline.ledger_check import check_ledger

    with console.progress("repair", None, "files") as advance:
        report = repair_cache(cache, dry=dry_run, progress=lambda _: advance())
    report.unsolved += [f"{fault.path}: {fault.what}" for fault in check_ledger(cache)]
    following = command_line("verify", cache)
    if report.dry and report.needed:
        following = command_line("repair", cache)
    elif report.waiting:
        following = command_line("embed", cache)
    if as_json:
        record = {**asdict(report), "whole": report.whole}
        console.summarise(record, as_json=True, next_command=following)
    else:
        _print(report.manifest, report.mended, report.quarantined, report.dry)
        for text in report.notes:
            console.note(f"note: {text}")
        for text in report.unsolved:
            console.say(f"still wrong: {text}")
        facts: dict[str, object] = {
            "manifest": report.number,
            "faults found": len(report.faults),
            "captions lost": report.lost,
            "refused captions lost": report.lost_rejects,
            "captions to embed again": report.waiting,
        }
        if report.space:
            facts["space to embed them with"] = report.space
        if report.indexes:
            facts["indexes to build" if report.dry else "indexes built"] = report.indexes
        facts["files moved aside" if not report.dry else "files to move aside"] = len(
            report.quarantined
        )
        title = f"{cache}: nothing to repair" if not report.needed else f"repaired {cache}"
        if report.dry and report.needed:
            title = f"{cache}, nothing was changed"
        console.summarise(facts, as_json=False, next_command=following, title=title)
    if not report.whole:
        raise typer.Exit(EXIT_DATA)


def _print(manifest: str, mended: dict[str, str], aside: dict[str, str], dry: bool) -> None:
    if manifest:
        console.say(f"newest manifest: {manifest}")
    for name, how in mended.items():
        console.say(f"{name}: {how}")
    for name, why in aside.items():
        console.say(f"{'to move' if dry else 'moved'} aside: {name}: {why}")
