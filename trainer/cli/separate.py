"""`lqtse separate`: take the sounds that texts ask for out of a recording, or a folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from trainer.cli.separating import Request

HELP = """Take the sound that QUERY asks for out of INPUT.

Any sample rate, length and number of channels; the output has those of the input. INPUT may be a
folder: then --out names one too, finished recordings are skipped, and a failed one (exit code 3 at
the end) does not stop the others.

\b
Examples:
  lqtse separate run street.wav --query "a dog barks" -o dog.wav --residual
  lqtse separate run street.wav -q "a dog barks" -q "rain" --out sounds
  lqtse separate run recordings -q "a dog barks" --out sounds --workers 4
  ffmpeg -i film.mp4 -f wav - | lqtse separate run - -q "rain" -o - | ffmpeg -i - rain.mp3
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("separate", help=HELP)(separate)


def separate(
    run: Annotated[Path, typer.Argument(help="The folder of a training run.", metavar="RUN")],
    source: Annotated[
        Path,
        typer.Argument(help="A recording, a folder of them, or - for a pipe.", metavar="INPUT"),
    ],
    query: Annotated[
        list[str],
        typer.Option("--query", "-q", help="What to take out, in words; may be given again."),
    ],
    output: Annotated[
        Optional[Path],
        typer.Option("--output", "-o", help="Where to write it; - for a pipe, as WAV."),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option("--out", help="Folder for several sounds: RECORDING-QUERY.FORMAT."),
    ] = None,
    negative: Annotated[
        Optional[str], typer.Option("--not", help="What to leave in, in words.")
    ] = None,
    residual: Annotated[
        bool,
        typer.Option("--residual", help="Also write the rest, beside the output: NAME-residual."),
    ] = False,
    format_: Annotated[
        str, typer.Option("--format", help="Of files in --out: wav, flac, ogg, mp3, aiff ...")
    ] = "wav",
    subtype: Annotated[
        Optional[str],
        typer.Option(
            help="float, pcm16 or pcm24. [default: float, or the best that the format has]"
        ),
    ] = None,
    channels: Annotated[
        str,
        typer.Option(help="shared: one mask for all channels; each: every channel by itself."),
    ] = "shared",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes for a folder, one thread each.")
    ] = 1,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="From pipe to pipe while the recording goes on, --chunk-seconds late."
        ),
    ] = False,
    confidence: Annotated[
        bool,
        typer.Option(
            "--confidence/--no-confidence",
            help="Say how likely it is that the sound is in there (lqtse calibrate).",
        ),
    ] = True,
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
    precision: Annotated[str, typer.Option(help="no (float32), or bf16 for speed.")] = "no",
    chunk_seconds: Annotated[
        float, typer.Option(min=0.1, help="Length of the pieces it works on: memory for speed.")
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    from trainer.cli.precision import tell_precision
    from trainer.cli.separating import Request, check
    from trainer.separate_file import FileSettings
    from trainer.separate_folder import Loading

    request = Request(
        source=source,
        queries=tuple(query),
        output=output,
        out=out,
        residual=residual,
        suffix=f".{format_.lstrip('.')}",
        workers=workers,
        loading=Loading(run, checkpoint, space, space_name, device, precision),
        settings=FileSettings(negative, subtype, chunk_seconds, _shared(channels), confidence),
        as_json=as_json,
    )
    check(request, live)
    tell_precision(precision, device)
    _carry_out(request, live)


def _shared(channels: str) -> bool:
    from cache_store.errors import UsageError

    if channels not in ("shared", "each"):
        raise UsageError("no such way with channels", where=channels, expected="shared | each")
    return channels == "shared"


def _carry_out(request: Request, live: bool) -> None:
    from trainer.cli.separating import separate_live, separate_many, separate_one

    if live:
        separate_live(request)
    elif request.source.is_dir():
        separate_many(request)
    else:
        separate_one(request)
