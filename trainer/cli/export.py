"""`lqtse export`: a separator as one file for other runtimes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cache_store import console

HELP = """Write the separator of RUN to a file for ONNX runtimes, or for torch.export.

It takes samples, a condition and a level, and gives the estimate; any length that is a multiple of
the block it names. docs/separate.md shows how to call it.

\b
Example:
  lqtse export run -o separator.onnx
  lqtse export run -o separator.pt2
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("export", help=HELP)(export)


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a training run.", metavar="RUN")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write: .onnx or .pt2.")
    ],
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    from trainer.exporting import export as write
    from trainer.separate import Separator

    separator = Separator.load(run, checkpoint=checkpoint, device="cpu")
    facts = write(separator, output)
    found: dict[str, object] = {"file": str(output), "bytes": output.stat().st_size}
    console.summarise(found | asdict(facts), as_json=as_json)
