"""`lqtse-cache embed`: give every caption its embedding."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Optional

import typer

from cache_store import console
from pipeline.cli.options import (
    AsJson,
    CacheFolder,
    Crew,
    Device,
    OptionalDtype,
    SpaceSpec,
    command_line,
    grouped,
    progress,
)


class Precision(str, Enum):
    """In which the text tower computes."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("embed")(command)


@grouped
def command(
    cache: CacheFolder,
    crew: Crew,
    space: SpaceSpec = None,
    space_name: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="Which model made the embeddings of stored:FILE, where the file does not say it.",
            show_default=False,
        ),
    ] = None,
    dtype: OptionalDtype = None,
    batch_size: Annotated[
        Optional[int],
        typer.Option(min=1, metavar="B", help="Captions in a batch.", show_default="by the device"),
    ] = None,
    device: Device = "auto",
    threads: Annotated[
        int, typer.Option(min=1, metavar="T", help="CPU threads of each process.")
    ] = 1,
    precision: Annotated[
        Precision,
        typer.Option(
            help="In which to compute; auto is bfloat16 where the device has matrix instructions "
            "for it, else float32."
        ),
    ] = Precision.auto,
    as_json: AsJson = False,
) -> None:
    """Embed the captions of a cache.

    A run that was stopped goes on where it stopped: run the same command again. Without --space,
    the cache's own space is used, and `tiny`, which ships with lqtse, for a cache that has none.

    \b
    Examples:
      lqtse-cache embed my-cache
      lqtse-cache embed my-cache --space laion:630k-audioset-best.pt --workers 4
      lqtse-cache embed my-cache --space hf:laion/clap-htsat-unfused --device cuda
      lqtse-cache embed my-cache --engine ray --address auto
    """
    from pipeline.embed import embed_cache

    report = embed_cache(
        cache,
        space=space,
        dtype=dtype.value if dtype else None,
        batch_size=batch_size,
        device=device,
        workers=crew.workers,
        threads=threads,
        precision=precision.value,
        space_name=space_name,
        engine=crew.engine.value,
        address=crew.address,
        progress=progress("embed", "captions"),
    )
    if report.cut:
        console.warn(
            f"{report.cut:,} captions are longer than the {report.text_limit} tokens that "
            f"{report.space} reads, and were cut there; the first: {report.cut_example!r}"
        )
    if len(report.precisions) > 1:
        console.note(
            f"the cache's embeddings were computed in {' and in '.join(report.precisions)}, which "
            "agree to a cosine of about 0.9999; name one with --precision to have no other"
        )
    if not (report.embedded or report.resumed):
        console.note("nothing to do: every caption is embedded")
    facts: dict[str, object] = {
        "captions embedded": report.embedded,
        "files written": report.shards,
        "files kept from a stopped run": report.resumed,
        "captions cut": report.cut,
        "embedded in the cache": report.total,
        "space": report.space,
        "fingerprint": report.fingerprint,
        "dimensions": report.dim,
        "dtype": report.dtype,
        "device": report.device,
        "precision": report.precision or "looked up",
        "workers": report.workers,
        "seconds": round(report.seconds, 1),
    }
    if report.embedded:
        facts["captions a second"] = round(report.embedded / max(report.seconds, 1e-9), 1)
    console.summarise(
        facts,
        as_json=as_json,
        next_command=command_line("index", cache),
        title=f"embedded {cache}",
    )
