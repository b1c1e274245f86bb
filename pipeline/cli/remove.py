"""`lqtse-cache remove`: take captions out of a cache."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from cache_store import console
from cache_store.errors import DataError, UsageError
from pipeline.cli.options import AsJson, CacheFolder, command_line

_ID = re.compile(r"[0-9a-f]{32}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("remove")(command)


def command(
    cache: CacheFolder,
    ids: Annotated[
        Optional[str],
        typer.Option(
            metavar="FILE", help="Ids, one a line; - for standard input.", show_default=False
        ),
    ] = None,
    where: Annotated[
        Optional[str],
        typer.Option(
            metavar="EXPR",
            help="Over caption, words (how many), concepts, model, request_id, id and the axes, "
            "such as register.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing: show what would go.")
    ] = False,
    examples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Removed captions to show.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Remove captions, by id or by an expression.

    No search or dataset of ours shows them afterwards; their rows lie in the files until
    `lqtse-cache compact`.

    \b
    Examples:
      lqtse-cache remove my-cache --where '"music" in caption' --dry-run
      lqtse-cache remove my-cache --where 'register == "label" and words > 4'
      lqtse-cache remove my-cache --ids bad-ids.txt
    """
    from cache_store.removing import remove_captions

    report = remove_captions(
        cache,
        ids=_read_ids(ids) if ids is not None else None,
        where=where,
        dry=dry_run,
        examples=examples,
    )
    if not as_json:
        for caption in report.examples:
            console.say(f"  {caption}")
    facts: dict[str, object] = {
        "captions": report.captions,
        "would be removed" if report.dry else "removed": report.removed,
        "left": report.left,
    }
    if report.unknown:
        facts["unknown ids"] = report.unknown
    if report.already:
        facts["removed before"] = report.already
    following = command_line("compact", cache, "--dry-run")
    if as_json:
        console.summarise(asdict(report), as_json=True, next_command=following)
        return
    console.summarise(facts, as_json=False, next_command=following, title=str(cache))


def _read_ids(file: str) -> set[str]:
    """The ids in a file, one a line.

    Raises:
        UsageError: If there is no such file.
        DataError: If a line is no id.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("cannot read the ids", where=file, found=error) from error
    found = set()
    for number, line in enumerate(text.splitlines(), start=1):
        word = line.strip()
        if word and not _ID.fullmatch(word):
            raise DataError(
                "not the id of a caption",
                where=f"{file}, line {number}",
                expected="32 hexadecimal characters",
                found=repr(word[:60]),
            )
        if word:
            found.add(word)
    return found
