"""`lqtse-cache export`: give a cache to another tool."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from cache_store import console
from pipeline.cli.options import AsJson, CacheFolder, progress


class Target(str, Enum):
    """The formats to export to."""

    lance = "lance"
    embedding_atlas = "embedding-atlas"
    csv = "csv"
    jsonl = "jsonl"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(command)


def command(
    cache: CacheFolder,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="What to write: NAME.lance (a folder), NAME.parquet for embedding-atlas, "
            "NAME.csv, NAME.jsonl. It must not be there.",
            show_default=False,
        ),
    ],
    to: Annotated[
        Target, typer.Option("--to", metavar="FORMAT", help="lance | embedding-atlas | csv | jsonl")
    ],
    as_json: AsJson = False,
) -> None:
    """Write the captions in the format of another tool.

    lance and embedding-atlas take the embeddings along, csv and jsonl the texts alone. Captions
    that were removed are left out; rejects and the ledger never go. The cache itself needs no
    export for Hugging Face: the folder is a dataset.

    \b
    Examples:
      lqtse-cache export my-cache --to lance captions.lance
      lqtse-cache export my-cache --to embedding-atlas captions.parquet
      lqtse-cache export my-cache --to csv captions.csv
    """
    from pipeline.export import export_cache

    done = export_cache(cache, to.value, output, progress=progress("export", "captions"))
    facts = {
        "output": str(done.output),
        "captions": done.rows,
        "removed ones left out": done.removed,
        "not embedded and left out": done.waiting,
        "bytes": done.bytes,
    }
    console.summarise(facts, as_json=as_json, next_command=done.opened or None)
