"""`lqtse-cache verify`: read every byte of a cache and name every fault."""

from __future__ import annotations

from dataclasses import asdict

import typer

from cache_store import console
from cache_store.errors import EXIT_DATA
from pipeline.cli.options import AsJson, CacheFolder


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(command)


def command(cache: CacheFolder, as_json: AsJson = False) -> None:
    """Check every byte of a cache.

    Hashes, page checksums, embeddings, ids, indexes. Changes nothing, and ends with code 3 if there is a fault, each on a line of its own.

    \b
    Examples:
      lqtse-cache verify my-cache
      lqtse-cache verify my-cache --json
    """
    from cache_store.verify import verify_cache

    report = verify_cache(cache)
    facts = {
        "files checked": report.files,
        "bytes checked": report.bytes,
        "faults": len(report.faults),
    }
    if as_json:
        facts["faults"] = [asdict(fault) for fault in report.faults]
    else:
        for fault in report.faults:
            console.say(f"fault: {fault.path}: {fault.what}. {fault.hint}")
    console.summarise(
        facts, as_json=as_json, title=f"{cache} is {'damaged' if report.faults else 'whole'}"
    )
    if report.faults:
        raise typer.Exit(EXIT_DATA)
