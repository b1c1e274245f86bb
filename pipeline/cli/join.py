"""`lqtse-cache join`: each recording's nearest captions, as a file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cache_store import console
from pipeline.cli.audio import AudioOptions
from pipeline.cli.options import (
    AsJson,
    CacheFolder,
    Centred,
    Crew,
    Device,
    Neighbours,
    SpaceSpec,
    grouped,
    progress,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("join")(command)


@grouped
@grouped
def command(
    cache: CacheFolder,
    audio: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIO",
            help="A folder of recordings, or a manifest (.csv, .tsv, .jsonl, .parquet, AudioSep's "
            ".json).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="CLIPS.parquet", help="What to write.", show_default=False
        ),
    ],
    crew: Crew,
    heard: AudioOptions,
    k: Neighbours = 8,
    centred: Centred = False,
    space: SpaceSpec = None,
    device: Device = "auto",
    threads: Annotated[
        int, typer.Option(min=1, metavar="T", help="CPU threads of each process.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Store each recording's nearest captions.

    The file holds each usable clip's neighbours and its audio embedding; every command takes it as
    AUDIO. Clips that cannot be used are named in CLIPS.rejects.csv, with the reason. A run that was
    stopped goes on where it stopped: run the same command again.

    \b
    Examples:
      lqtse-cache join my-cache recordings/ -o clips.parquet
      lqtse-cache join my-cache clips.csv -o train.parquet -k 16 --where "fold != 4"
      lqtse-cache join my-cache recordings/ -o clips.parquet --engine ray --address auto
    """
    from pipeline.join import join_clips

    report = join_clips(
        cache,
        audio,
        output,
        k=k,
        centred=centred,
        space=space,
        space_name=heard.space_name,
        where=heard.where,
        label_from_folder=heard.label_from_folder,
        device=device,
        batch=heard.batch_size,
        workers=crew.workers,
        threads=threads,
        engine=crew.engine.value,
        address=crew.address,
        progress=progress("join", "clips"),
    )
    if report.rejected:
        console.warn(f"{report.rejected:,} clips cannot be used; see {report.rejects_file}")
    caption, clips = report.busiest
    console.summarise(
        {
            "clips": report.clips,
            "rejected": report.rejected,
            "heard": report.heard,
            "kept from a stopped run": report.resumed,
            "captions": report.captions,
            "neighbours a clip": report.k,
            "space": report.space,
            "audio embeddings": "stored ones" if report.stored else "computed",
            "workers": report.workers,
            "search": f"{report.kind}, centred" if report.centred else report.kind,
            "why": report.reason,
            "mean score of the nearest": round(report.best_score, 4),
            "captions nearest to a clip": report.nearest,
            "the busiest of them": f"{caption!r}, nearest to {clips:,} clips",
            "modality gap": round(report.gap, 4),
            "file": str(output),
        },
        as_json=as_json,
        next_command=shlex.join(
            ["lqtse", "train", "--cache", str(cache), "--audio", str(output), "--out", "run"]
            + ["--centred"] * report.centred
        ),
        title=f"joined {audio} with {cache}",
    )
