"""`lqtse-cache index`: what makes searching a cache fast."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from cache_store import console
from pipeline.cli.options import (
    AsJson,
    CacheFolder,
    Crew,
    Device,
    SpaceSpec,
    command_line,
    grouped,
    progress,
)


class Kind(str, Enum):
    """How to search."""

    auto = "auto"
    exact = "exact"
    flat = "flat"
    hnsw = "hnsw"
    ivf = "ivf"
    ivfpq = "ivfpq"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("index")(command)


@grouped
def command(
    cache: CacheFolder,
    crew: Crew,
    kind: Annotated[
        Kind,
        typer.Option(
            help="exact: a memory-mapped matrix, searched whole. flat: the same by FAISS. "
            "ivf: cells, for millions. ivfpq: cells of codes, in less memory. hnsw: a graph. "
            "auto: what suits the cache."
        ),
    ] = Kind.auto,
    queries: Annotated[
        Optional[Path],
        typer.Option(
            metavar="AUDIO",
            help="Shape and tune an approximate index with these recordings: a folder, or a "
            "manifest (.csv, .tsv, .jsonl, .parquet; stored embeddings are used as they are).",
            show_default="captions of the cache",
        ),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(metavar="R", help="The recall at 10 to tune an approximate index to."),
    ] = 0.95,
    centre: Annotated[
        bool,
        typer.Option(
            "--centre",
            help="Store the mean of the captions, and of the clips of --queries, for `search` and "
            "`join --centred`.",
        ),
    ] = False,
    space_name: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="Which model made the queries' embeddings, where the file does not say it.",
            show_default=False,
        ),
    ] = None,
    space: SpaceSpec = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Build an index, so that searching is fast.

    Build it again after the cache has grown: an older index is never used.

    \b
    Examples:
      lqtse-cache index my-cache
      lqtse-cache index my-cache --kind ivf --queries recordings/ --recall 0.98
      lqtse-cache index my-cache --centre --queries clips.parquet
      lqtse-cache index my-cache --engine ray --address auto
    """
    from pipeline.indexing import index_cache

    done = index_cache(
        cache,
        kind=kind.value,
        queries=queries,
        recall=recall,
        centre=centre,
        space_name=space_name,
        space=space,
        device=device,
        workers=crew.workers,
        engine=crew.engine.value,
        address=crew.address,
        progress=progress("hear the queries", "clips"),
    )
    report = done.built
    if done.rejects:
        name, reason = done.rejects[0]
        console.warn(f"{len(done.rejects):,} recordings cannot be used; the first: {name} {reason}")
    facts: dict[str, object] = {
        "kind": report.kind,
        "why": report.reason,
        "captions": report.rows,
        "dimensions": report.dim,
        "bytes": report.bytes,
        "seconds": round(report.seconds, 2),
    }
    if report.recall is not None:
        facts |= {
            "recall at 10": round(report.recall, 4),
            "recall at 1": round(report.recall_at_1 or 0.0, 4),
            "measured with": report.recall_queries,
            report.breadth_name: report.breadth,
        }
        if report.recall < recall:
            console.note(f"recall {report.recall:.3f} is the most that this index reaches here")
    if done.heard:
        facts["recordings heard"] = done.heard
    if done.means is not None:
        facts["means for centring"] = done.means.describe()
        if done.means.audio is None:
            console.note("no audio mean: name recordings with --queries AUDIO")
    console.summarise(
        facts,
        as_json=as_json,
        next_command=command_line("search", cache, "a dog barking"),
        title=f"indexed {cache}",
    )
