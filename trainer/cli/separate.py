"""`lqtse separate`: take the sound that a text asks for out of a recording."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Optional

import typer

from cache_store import console

HELP = """Take the sound that QUERY asks for out of INPUT.

Any sample rate, length and number of channels; the output has those of the input.

\b
Example:
  lqtse separate run street.wav --query "a dog barks" -o dog.wav --residual
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("separate", help=HELP)(separate)


def separate(
    run: Annotated[Path, typer.Argument(help="The folder of a training run.", metavar="RUN")],
    source: Annotated[Path, typer.Argument(help="The recording.", metavar="INPUT")],
    query: Annotated[str, typer.Option("--query", "-q", help="What to take out, in words.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")],
    negative: Annotated[
        Optional[str], typer.Option("--not", help="What to leave in, in words.")
    ] = None,
    residual: Annotated[
        bool,
        typer.Option("--residual", help="Also write the rest, beside the output: NAME-residual."),
    ] = False,
    subtype: Annotated[
        Optional[str],
        typer.Option(
            help="float, pcm16 or pcm24. [default: float, or the best that the format has]"
        ),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    space: Annotated[
        str,
        typer.Option(
            help="Model for the query, if the run's own cannot be loaded: tiny, laion:CHECKPOINT, "
            "hf:ID_OR_FOLDER or stored:FILE.parquet."
        ),
    ] = "",
    space_name: Annotated[
        str, typer.Option(help="Where a stored table's embeddings came from, if it does not say.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    chunk_seconds: Annotated[
        float, typer.Option(min=0.1, help="Length of the pieces it works on: memory for speed.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    import time

    from trainer.separate import Separator

    begin = time.monotonic()
    separator = Separator.load(
        run, checkpoint=checkpoint, space=space, space_name=space_name, device=device
    )
    rest = output.with_name(f"{output.stem}-residual{output.suffix}") if residual else None
    done = separator.separate_file(
        source,
        output,
        query=query,
        negative=negative,
        residual=rest,
        subtype=subtype,
        chunk_seconds=chunk_seconds,
    )
    if negative is not None and not separator.record.negative:
        console.warn(
            "this run was not trained with negative conditions, so --not may do little: "
            "train with --negative 0.5"
        )
    if done.clipped:
        console.warn(
            f"{done.clipped:,} samples were beyond full scale and are held there; "
            "--subtype float keeps them"
        )
    own_rate = separator.record.sample_rate
    if done.sample_rate > own_rate:
        console.note(
            f"the separator hears up to {own_rate // 2:,} Hz: above that the output is silent"
        )
    facts: dict[str, object] = {"query": query}
    facts |= {"not": negative} if negative is not None else {}
    facts["output"] = str(done.output)
    if done.residual is not None:
        facts["residual"] = str(done.residual)
    facts |= {
        "sample rate": done.sample_rate,
        "channels": done.channels,
        "seconds of audio": done.samples / done.sample_rate,
        "seconds taken": time.monotonic() - begin,
    }
    again = ["lqtse", "separate", str(run), str(source), "--query", "another sound"]
    console.summarise(facts, as_json=as_json, next_command=shlex.join([*again, "-o", "other.wav"]))
