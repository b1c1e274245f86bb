"""`lqtse-cache import`: bring your own captions, with their embeddings if you have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store import console
from pipeline.cli.options import AsJson, CacheFolder, OptionalDtype, command_line

if TYPE_CHECKING:
    from pipeline.importing import ImportReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(command)


def command(
    cache: CacheFolder,
    captions: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="A .txt file (a caption a line), or .csv, .tsv, .jsonl or .parquet.",
            show_default=False,
        ),
    ],
    column: Annotated[
        str, typer.Option(metavar="NAME", help="The column that holds the captions.")
    ] = "caption",
    embeddings: Annotated[
        bool,
        typer.Option("--embeddings", help="Take the column `embedding` too (Parquet only)."),
    ] = False,
    space_name: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="Which model made the embeddings, where the file does not say it.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        Optional[str],
        typer.Option(
            metavar="EXPR",
            help="Take only rows for which this holds: \"label not in ('dog', 'rain')\".",
            show_default=False,
        ),
    ] = None,
    dtype: OptionalDtype = None,
    shard_rows: Annotated[
        int, typer.Option(min=1, metavar="N", help="Captions a file of the cache, at most.")
    ] = 16_384,
    as_json: AsJson = False,
) -> None:
    """Bring your own captions into a cache.

    Captions that the cache already has are left out, so the same import twice adds nothing.

    \b
    Examples:
      lqtse-cache import my-cache --captions captions.txt
      lqtse-cache import my-cache --captions clips.csv --column text
      lqtse-cache import my-cache --captions texts.parquet --embeddings \\
          --space-name "laion-clap 630k-audioset-best"
    """
    from pipeline.importing import import_captions

    with console.progress("import", None, "rows") as advance:
        report = import_captions(
            cache,
            captions,
            column=column,
            embeddings=embeddings,
            space_name=space_name,
            where=where,
            dtype=dtype.value if dtype else None,
            shard_rows=shard_rows,
            advance=advance,
        )
    _tell(cache, captions, report, as_json)


def _tell(cache: Path, captions: Path, report: ImportReport, as_json: bool) -> None:
    if report.example is not None:
        reason, text = report.example
        total = sum(report.rejected.values())
        console.warn(
            f"{total:,} rows refused, the first as {reason}: {text[:80]!r}; "
            f"see {command_line('show', cache, '--rejects')}"
        )
    if not report.added:
        console.note("nothing to add: the cache has every caption of this file")
    facts: dict[str, object] = {
        "rows read": report.read,
        "captions added": report.added,
        "already there": report.known,
        "duplicates in the file": report.duplicates,
        "filtered out": report.filtered,
        "refused": report.rejected,
        "files written": report.shards,
        "captions in the cache": report.total,
        "not embedded yet": report.waiting,
    }
    if report.space is not None:
        facts |= {"space": report.space, "dtype": report.dtype}
    following = "embed" if report.waiting else "index"
    console.summarise(
        facts,
        as_json=as_json,
        next_command=command_line(following, cache),
        title=f"imported {captions.name} into {cache}",
    )
