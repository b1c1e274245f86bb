"""`lqtse-cache verify`: read every byte of a cache and name every fault."""

from __future__ import annotations

from dataclasses import asdict

import typer

from cache_store import console
from cache_store.errors import EXIT_DATA
from pipeline.cli.options import AsJson, CacheFolder, command_line


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(command)


def command(cache: CacheFolder, as_json: AsJson = False) -> None:
    """Check every byte of a cache.

    Hashes, page checksums, embeddings, ids, indexes, the card, the ledger and its answers. Changes
    nothing, and ends with code 3 if there is a fault, each on a line of its own.

    \b
    Examples:
      lqtse-cache verify my-cache
      lqtse-cache verify my-cache --json
    """
    from cache_store.verify import verify_cache
    from pipeline.ledger_check import check_ledger

    with console.progress("verify", None, "files") as advance:
        report = verify_cache(cache, lambda _: advance())
    in_rows = bool(report.faults)
    report.faults += check_ledger(cache)
    facts: dict[str, object] = {
        "files read": report.files,
        "bytes read": report.bytes,
        "embedded rows checked": report.rows,
    }
    if as_json:
        facts |= {"faults": [asdict(fault) for fault in report.faults], "notes": report.notes}
    else:
        for note in report.notes:
            console.note(f"note: {note}")
        for fault in report.faults:
            hint = f". {fault.hint}" if fault.hint else ""
            console.say(f"fault: {fault.path}: {fault.what}{hint}")
        facts["faults"] = len(report.faults)
    console.summarise(
        facts,
        as_json=as_json,
        next_command=command_line("repair", cache, "--dry-run") if in_rows else None,
        title=f"{cache} is {'whole' if report.whole else 'damaged'}",
    )
    if not report.whole:
        raise typer.Exit(EXIT_DATA)
