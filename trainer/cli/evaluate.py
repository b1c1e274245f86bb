"""`lqtse evaluate`: measure a run on held-out mixtures, asked in words."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store import console

if TYPE_CHECKING:
    from trainer.eval_settings import EvalSettings
    from trainer.evaluate import Evaluation
    from trainer.lists import EvalList

HELP = """Measure a run on mixtures of held-out clips; the same mixtures for every run.

SDR is the plain ratio of energies (as AudioSep and DCASE report it), SI-SDR removes no mean, and
the i stands for the improvement over the mixture. "Level with an absent query" is how loud the
estimate is, to the mixture, when asked for a sound that is not in it. Intervals are 95 %, by
bootstrap over targets.

\b
Example:
  lqtse evaluate run --audio clips.csv --where "fold == 4" --out results.csv
  lqtse evaluate run --audio clips.csv --sounds listen --worst 20 --clap-score
  lqtse evaluate run --list audiocaps_eval.csv --audio evaluation/data/audiocaps
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("evaluate", help=HELP)(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a training run.", metavar="RUN")],
    audio: Annotated[
        str, typer.Option(help="A folder, or a manifest (.csv .jsonl .parquet, AudioSep's .json).")
    ],
    where: Annotated[str, typer.Option(help='Clips to use: "fold == 4".', metavar="EXPR")] = "",
    queries: Annotated[
        str, typer.Option(help="caption, label, or audio: the target's own audio embedding.")
    ] = "caption",
    label_from_folder: Annotated[
        bool, typer.Option("--label-from-folder", help="A clip's folder is its label.")
    ] = False,
    list_: Annotated[
        str,
        typer.Option(
            "--list",
            help="A list of AudioSep or DCASE; --audio is then the folder of its files.",
            metavar="CSV",
        ),
    ] = "",
    bss: Annotated[
        bool, typer.Option("--bss", help="BSS-eval's SDR too (the extra `bss`); takes long.")
    ] = False,
    clap_score: Annotated[
        bool,
        typer.Option("--clap-score", help="CLAPScore too; needs a model that embeds audio."),
    ] = False,
    say_not: Annotated[
        bool,
        typer.Option("--say-not", help="Say the interferer's text as what to leave out (`--not`)."),
    ] = False,
    average: Annotated[
        str,
        typer.Option(help="mean, class-means or class-medians. [default: the list's own way]"),
    ] = "",
    space: Annotated[
        str,
        typer.Option(
            help="Model for the queries, if the run's own cannot be loaded: tiny, "
            "laion:CHECKPOINT, hf:ID_OR_FOLDER or stored:FILE.parquet."
        ),
    ] = "",
    space_name: Annotated[
        str, typer.Option(help="Where stored embeddings came from, if their file does not say.")
    ] = "",
    snr: Annotated[float, typer.Option(help="Of the target, in dB.")] = 0.0,
    mixtures: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    seconds: Annotated[
        Optional[float],
        typer.Option(min=0.1, help="Length of a mixture. [default: that of the training]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the mixtures.")] = 0,
    out: Annotated[
        Optional[Path], typer.Option(help="CSV with a row a mixture. [default: none]")
    ] = None,
    sounds: Annotated[
        Optional[Path],
        typer.Option(help="Folder for mixtures, targets, estimates and a page that plays them."),
    ] = None,
    sounds_count: Annotated[int, typer.Option(min=1, help="Of how many mixtures.")] = 10,
    worst: Annotated[
        Optional[int],
        typer.Option(min=1, help="Write the sounds of this many with the lowest SDRi instead."),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="no (float32), or bf16 for speed.")] = "no",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    from trainer.cli.precision import tell_precision
    from trainer.eval_settings import EvalSettings
    from trainer.evaluate import evaluate as measure
    from trainer.evaluate import write_results
    from trainer.places import check_file

    if out is not None:
        check_file(out)
    settings = EvalSettings(
        audio=audio,
        where=where,
        queries=queries,
        snr=snr,
        mixtures=mixtures,
        seconds=seconds,
        seed=seed,
        label_from_folder=label_from_folder,
        space=space,
        space_name=space_name,
        checkpoint=checkpoint,
        device=device,
        precision=precision,
        sounds=sounds,
        sounds_count=worst or sounds_count,
        worst=worst is not None,
        clap_score=clap_score,
        say_not=say_not,
        list=list_,
        bss=bss,
        average=average,
    )
    tell_precision(precision, device)
    listed = None
    if list_:
        from trainer.evaluate_list import evaluate_list

        done, listed = evaluate_list(run, settings)
        _tell_of(listed)
    else:
        done = measure(run, settings)
    if out is not None:
        write_results(out, done)
    for reject in done.rejects:
        console.warn(f"left out: {reject.name} {reject.reason}")
    _summarise(run, settings, done, out, as_json)


def _tell_of(listed: EvalList) -> None:
    """Say what of a list was used: a score over a part of it is not the list's score."""
    if listed.missing:
        console.warn(
            f"the audio of {listed.total - len(listed.rows):,} of {listed.total:,} rows is "
            f"missing, the first: {listed.missing[0]}; the scores are those of the rest"
        )
    if listed.mixed_here:
        console.note("the folder holds no mixtures, so they are made here, from the list's files")


def _summarise(
    run: Path, settings: EvalSettings, done: Evaluation, out: Path | None, as_json: bool
) -> None:
    from trainer.compare import title

    facts: dict[str, object] = {
        "run": str(run),
        "strategy": done.strategy,
        "queries": settings.queries,
        "mixtures": len(done.rows),
        "clips left out": len(done.rejects),
    }
    if as_json:
        facts |= {
            key: {"mean": value.mean, "low": value.low, "high": value.high}
            for key, value in done.means.items()
        }
        facts["classes"] = done.classes
    else:
        facts |= {title(key): str(value) for key, value in done.means.items()}
        facts |= {
            f"  {label}": f"SDRi {scores['sdri']:.2f}, SI-SDRi {scores['si_sdri']:.2f} "
            f"({scores['mixtures']:.0f} mixtures)"
            for label, scores in done.classes.items()
        }
    facts["share with 1 dB or more"] = round(done.success, 4)
    if out is not None:
        facts["results"] = str(out)
    if settings.sounds is not None:
        facts["sounds"] = str(settings.sounds / "index.html")
    query = str(done.rows[0]["query"]) if settings.queries != "audio" else "a dog barks"
    command = ["lqtse", "separate", str(run), "RECORDING", "--query", query, "-o", "estimate.wav"]
    console.summarise(facts, as_json=as_json, next_command=shlex.join(command))
