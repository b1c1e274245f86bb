"""`lqtse calibrate`: let `separate` say how likely it is that a sound is in a recording."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Optional

import typer

from cache_store import console

HELP = """Find out how far the confidence figure of `lqtse separate` can be trusted.

Held-out clips are mixed in twos; each mixture is asked for a sound that is in it and for one that
is not. One half of the clips fits the figure, the other half measures how far off it is. Both are
kept in RUN/confidence.json.

\b
Example:
  lqtse calibrate run --audio clips.csv --where "fold == 4"
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("calibrate", help=HELP)(calibrate)


def calibrate(
    run: Annotated[Path, typer.Argument(help="The folder of a training run.", metavar="RUN")],
    audio: Annotated[
        str,
        typer.Option(help="Recordings that were not trained on: a folder, or a manifest."),
    ],
    where: Annotated[str, typer.Option(help='Clips to use: "fold == 4".', metavar="EXPR")] = "",
    queries: Annotated[str, typer.Option(help="caption or label.")] = "caption",
    label_from_folder: Annotated[
        bool, typer.Option("--label-from-folder", help="A clip's folder is its label.")
    ] = False,
    mixtures: Annotated[int, typer.Option(min=1, help="How many; half of them to fit.")] = 400,
    seconds: Annotated[
        Optional[float],
        typer.Option(min=0.1, help="Length of a mixture. [default: that of the training]"),
    ] = None,
    snr: Annotated[float, typer.Option(help="Targets are from -SNR to SNR dB.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the mixtures.")] = 0,
    space: Annotated[
        str,
        typer.Option(
            help="Model for the queries and for listening, if the run's own cannot be loaded: "
            "tiny, laion:CHECKPOINT, hf:ID_OR_FOLDER or stored:FILE.parquet."
        ),
    ] = "",
    space_name: Annotated[
        str, typer.Option(help="Where stored embeddings came from, if their file does not say.")
    ] = "",
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    from trainer.calibrate import CalibrateSettings
    from trainer.calibrate import calibrate as fit

    done = fit(
        run,
        CalibrateSettings(
            audio=audio,
            where=where,
            queries=queries,
            mixtures=mixtures,
            seconds=seconds,
            snr_db=snr,
            seed=seed,
            label_from_folder=label_from_folder,
            space=space,
            space_name=space_name,
            checkpoint=checkpoint,
            device=device,
        ),
    )
    for reject in done.rejects:
        console.warn(f"left out: {reject.name} {reject.reason}")
    found = done.calibration
    if found.full is None:
        console.note(f"confidence is by energy alone: {done.deaf}")
    best = found.full or found.share
    if best.error["auroc"] < 0.75:
        console.warn(
            "the figure hardly tells what is there from what is not: train longer, or on more"
        )
    facts: dict[str, object] = {
        "evidence": "energy share, CLAPScore" if found.full else "energy share",
        "mixtures": mixtures,
        "seconds a window": found.window_seconds,
        **(_rounded(best.error) if as_json else _with_intervals(best.error)),
    }
    if found.full is not None:
        alone = _rounded if as_json else _with_intervals
        by_energy = alone(found.share.error)
        facts |= {
            f"{name} by energy alone": by_energy[name] for name in by_energy if "auroc" in name
        }
    facts["file"] = str(done.path)
    command = ["lqtse", "separate", str(run), "RECORDING", "--query", "a dog barks"]
    console.summarise(
        facts, as_json=as_json, next_command=shlex.join([*command, "-o", "estimate.wav"])
    )


def _rounded(error: Mapping[str, float]) -> dict[str, object]:
    """For a machine: every figure, the ends of intervals among them."""
    return {name.replace("_", " "): round(value, 4) for name, value in error.items()}


def _with_intervals(error: Mapping[str, float]) -> dict[str, object]:
    """For a reader: figures with their intervals in brackets."""
    facts: dict[str, object] = {}
    for name, value in error.items():
        low, high = error.get(f"{name}_low"), error.get(f"{name}_high")
        told = value if name == "judgements" else f"{value:.3f}"
        if low is not None and high is not None:
            told = f"{told} [{low:.3f}, {high:.3f}]"
        if not name.endswith(("_low", "_high")):
            facts[name.replace("_", " ")] = told
    return facts
