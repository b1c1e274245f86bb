"""`lqtse init`: a run of weights that were trained elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cache_store import console

HELP = """Make RUN from weights that were trained elsewhere, AudioSep's say, to separate with.

The file is read as weights only: nothing in it is executed. What it holds beside the separator is
named and left. An AudioSep checkpoint that carries its CLAP can be its own --space.
To train such weights further: lqtse train --init audiosep:FILE

\b
Example:
  lqtse init run --from audiosep:audiosep_base_4M_steps.ckpt \\
      --space laion:music_speech_audioset_epoch_15_esc_89.98.pt
  lqtse separate run street.wav --query "a dog barks" -o dog.wav
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("init", help=HELP)(init)


def init(
    run: Annotated[Path, typer.Argument(help="The folder to make.", metavar="RUN")],
    source: Annotated[
        str, typer.Option("--from", help="audiosep:FILE (.ckpt, .pt or .safetensors), or a run.")
    ],
    space: Annotated[
        str,
        typer.Option(
            help="The CLAP that it takes queries from: tiny, laion:CHECKPOINT, hf:ID_OR_FOLDER or "
            "stored:FILE.parquet."
        ),
    ],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    from trainer.initial import make_run
    from trainer.run import RunFolder, read_record

    folder = RunFolder(run)
    initial = make_run(folder, source, space, device=device)
    record = read_record(folder)
    facts: dict[str, object] = {
        "run": str(run),
        "from": initial.source,
        "sha256": initial.sha256,
        "model": f"{initial.model} at {initial.sample_rate:,} Hz",
        "weights": sum(tensor.numel() for tensor in initial.weights.values()),
        "queries": record.space.name,
    }
    if initial.left:
        facts["left alone"] = initial.left
    command = ["lqtse", "separate", str(run), "recording.wav", "--query", "a dog barks"]
    console.summarise(facts, as_json=as_json, next_command=shlex.join([*command, "-o", "dog.wav"]))
