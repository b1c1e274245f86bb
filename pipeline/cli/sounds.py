"""`lqtse-cache sounds`: write procedural recordings, to try things on without any data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cache_store import console

HELP = """Write procedural recordings: unlabelled WAV files, and what they are in truth.csv.

\b
Example:
  lqtse-cache sounds recordings --kinds dog,rain,siren --per-kind 12 --seed 1
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("sounds", help=HELP)(sounds)


def sounds(
    folder: Annotated[Path, typer.Argument(help="Where to write.", metavar="DIR")],
    kinds: Annotated[
        str, typer.Option(help="Kinds of sound, with commas; all of them by default.")
    ] = "",
    per_kind: Annotated[int, typer.Option(min=1, help="Recordings of each kind.")] = 10,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of each, in seconds.")] = 5.0,
    sample_rate: Annotated[int, typer.Option(min=8000, help="In Hz.")] = 16000,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the recordings and say where they are."""
    from cache_store.spaces.tiny.recordings import write_recordings
    from cache_store.spaces.tiny.sounds import KINDS

    chosen = [kind.strip() for kind in kinds.split(",") if kind.strip()] or list(KINDS)
    truth = write_recordings(
        folder, chosen, per_kind, seed, seconds=seconds, sample_rate=sample_rate
    )
    console.summarise(
        {
            "recordings": len(chosen) * per_kind,
            "kinds": chosen,
            "folder": str(folder),
            "truth": str(truth),
        },
        as_json=as_json,
        next_command=f"lqtse-cache join CACHE {folder} -o CLIPS.parquet",
    )
