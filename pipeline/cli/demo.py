"""`lqtse-cache demo`: the whole way on this machine, offline, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = """Walk the whole way on this machine, offline, printing every command as you would type it.

Procedural recordings, captions, cache, two trainings, evaluation with text queries, separation.
Interrupted, the same command goes on where it stopped.

\b
Example:
  lqtse-cache demo lqtse-demo
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("demo", help=HELP)(demo)


def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything goes.", metavar="[DIR]")] = Path(
        "lqtse-demo"
    ),
    backend: Annotated[
        str,
        typer.Option(
            help="Who writes the captions: local, grammar. "
            "[default: local where it is installed, else grammar]"
        ),
    ] = "",
    captions: Annotated[int, typer.Option("-n", min=8, help="Captions to keep.")] = 100,
    steps: Annotated[int, typer.Option(min=1, help="Of each of the two trainings.")] = 400,
    mixtures: Annotated[int, typer.Option(min=1, help="Held-out mixtures to score.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
) -> None:
    from pipeline.demo import DemoOptions, run_demo

    run_demo(folder, DemoOptions(backend, captions, steps, mixtures, seed))
