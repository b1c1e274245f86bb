"""`lqtse-cache grow`: captions where the user's own audio has none that is close."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cache_store import console
from cache_store.errors import MissingDependencyError
from pipeline.cli.asking import Asking
from pipeline.cli.audio import AudioOptions
from pipeline.cli.grow_known import STORED, from_table
from pipeline.cli.options import (
    AsJson,
    CacheFolder,
    Device,
    SpaceSpec,
    command_line,
    grouped,
    progress,
)

if TYPE_CHECKING:
    from pipeline.grow.asking import Asker
    from pipeline.grow.report import GrowReport
    from pipeline.llm.select import Chosen

PLOT = "grow.png"
REJECTS = "grow.rejects.csv"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("grow")(command)


@grouped
def command(
    cache: CacheFolder,
    audio: Annotated[
        Path,
        typer.Argument(
            metavar="AUDIO",
            help="A folder of recordings, or a manifest (.csv, .tsv, .jsonl, .parquet, AudioSep's "
            ".json); embeddings that it stores (join writes such files) are used.",
            show_default=False,
        ),
    ],
    asking: Asking,
    heard: AudioOptions,
    n: Annotated[
        Optional[int],
        typer.Option(
            "-n",
            min=1,
            metavar="N",
            help="Captions to write at most, over all rounds.",
            show_default="20 for each concept that is missing",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, metavar="R", help="Rounds of asking and measuring, at most.")
    ] = 3,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only measure, and say what the first round would ask for."),
    ] = False,
    space: SpaceSpec = None,
    device: Device = "auto",
    plot: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE.png", help="Where to draw it.", show_default=f"CACHE/report/{PLOT}"
        ),
    ] = None,
    clips: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE.parquet",
            help="Write each clip's state before and after, its concept and its nearest captions.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write captions where your own audio has none that is close.

    Finds the recordings that the cache has no fitting captions for, asks the model for captions
    about the concepts that lie near them, embeds those, and measures again, until coverage stops
    rising or captions, rounds or money are spent. After Ctrl-C or a crash, run the same command
    again: it goes on with the same rounds, and nothing that was answered is asked twice.

    With --space stored:FILE.parquet nothing is written: those captions of the file are added that
    your recordings are nearest to.

    \b
    Examples:
      lqtse-cache grow my-cache recordings/ --dry-run
      lqtse-cache grow my-cache recordings/ -n 500
      lqtse-cache grow my-cache clips.parquet -n 5000 --where "fold != 4" --backend openai \\
          --model gpt-4o-mini --prices prices.json --max-usd 2 --clips grown.parquet
      lqtse-cache grow my-cache clips.parquet --space stored:texts.parquet
    """
    from pipeline.grow.output import check_clips, write_table_of_clips
    from pipeline.grow.plot import check_plot
    from pipeline.grow.prepare import Audio
    from pipeline.grow.rounds import grow_cache

    source = Audio(
        audio,
        where=heard.where,
        label_from_folder=heard.label_from_folder,
        space_name=heard.space_name,
        batch=heard.batch_size,
    )
    if (space or "").startswith(STORED):
        unused = asking.words()
        unused += [f"--plot {plot}"] if plot else []
        unused += [f"--clips {clips}"] if clips else []
        from_table(cache, source, space or "", n, dry_run=dry_run, unused=unused, as_json=as_json)
        return
    if clips is not None:
        check_clips(clips, audio)
    if plot is not None:
        check_plot(plot)
    bank = asking.bank()
    if asking.concepts is None:
        _warn_of_tiny(cache, space)
    backends = _Backends(asking, dry_run)
    try:
        report = grow_cache(
            cache,
            source,
            backends.asker(bank),
            n=n,
            rounds=rounds,
            space=space,
            device=device,
            ask=not dry_run,
            note=console.note,
            progress=progress("hear", "clips"),
        )
    finally:
        backends.close()
    if report.ended == "stopped":
        raise KeyboardInterrupt
    drawn = _draw(report, cache, plot, dry_run)
    if clips is not None:
        write_table_of_clips(cache, report, clips)
    _end(report, cache, clips, drawn, as_json)


class _Backends:
    """Opens the backend once to know its name, and anew for each round after the first."""

    def __init__(self, asking: Asking, dry_run: bool) -> None:
        self._asking = asking
        # To measure takes no model, so none has to be installed for it.
        self._first = None if dry_run else asking.open()

    def asker(self, bank: Any) -> Asker:
        from pipeline.generate import Limits
        from pipeline.grow.asking import Asker
        from pipeline.panel import shown

        first = self._first
        if first is None:
            return Asker(self._asking.plan(bank, "", "chat"), self._open, Limits(), shown)
        if not first.backend.uses_llm:
            console.note(f"no language model is involved: --backend {first.backend.name}")
        plan = self._asking.plan(bank, first.backend.model, first.backend.style)
        limits = self._asking.limits(first)
        return Asker(plan, self._open, limits, shown, self._asking.notes())

    def _open(self) -> Chosen:
        first, self._first = self._first, None
        return first or self._asking.open()

    def close(self) -> None:
        """Close a backend that was opened and not used."""
        if self._first is not None:
            asyncio.run(self._first.backend.aclose())


def _warn_of_tiny(cache: Path, space: str | None) -> None:
    from cache_store.manifest import newest_manifest

    manifest = newest_manifest(cache)
    record = manifest.space if manifest is not None else None
    if (space or (record.name if record else "tiny")) == "tiny":
        console.warn(
            "the space tiny knows some fifty kinds of sound, and takes a sound for one of a "
            "thousand others as it comes: give a list of what it knows with --concepts "
            "(examples/grow/heard.txt)"
        )


def _draw(report: GrowReport, cache: Path, plot: Path | None, dry_run: bool) -> Path | None:
    from pipeline.grow.plot import draw

    if plot is None and dry_run:
        return None
    path = plot or cache / "report" / PLOT
    try:
        draw(report, path)
    except MissingDependencyError as error:
        # A plot that nobody asked for is no reason to fail.
        console.note(f"no plot was drawn: {error.message}")
        return None
    return path


def _end(
    report: GrowReport, cache: Path, clips: Path | None, drawn: Path | None, as_json: bool
) -> None:
    from cache_store.clips import write_rejects
    from pipeline.grow.summary import numbers_of, words_of

    recordings = report.prepared.recordings
    if recordings.rejects:
        path = cache / "report" / REJECTS
        path.parent.mkdir(exist_ok=True)
        write_rejects(path, recordings.rejects)
        console.warn(f"{len(recordings.rejects):,} clips cannot be used; see {path}")
    if recordings.total > len(recordings.table) + len(recordings.rejects):
        console.note(f"measured on a sample of {recordings.total:,} clips")
    lost = int(report.after.near_nothing.sum())
    if lost:
        console.note(
            f"{lost:,} clips lie near no concept of the list: name what is in them with --concepts"
            + ("" if clips else ", and --clips FILE.parquet says which they are")
        )
    facts = numbers_of(report) if as_json else words_of(report)
    if drawn is not None:
        facts["plot"] = str(drawn)
    if clips is not None:
        facts["clips file" if not as_json else "clips_file"] = str(clips)
    console.summarise(
        facts,
        as_json=as_json,
        next_command=command_line("index", cache) if report.kept else None,
        title=f"grew {cache}" if report.rounds else f"measured {cache}",
    )
