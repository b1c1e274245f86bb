"""`lqtse-cache dedupe`: take out captions that say the same as an earlier one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Optional

import typer

from cache_store import console
from cache_store.errors import UsageError
from pipeline.cli.options import AsJson, CacheFolder, Device, command_line, progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dedupe")(command)


def command(
    cache: CacheFolder,
    threshold: Annotated[
        Optional[float],
        typer.Option(
            metavar="COS",
            help="Remove captions whose cosine to an earlier one is at least this; look first.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Change nothing: show what would go, or, without a threshold, how near the "
            "captions are to one another.",
        ),
    ] = False,
    examples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Removed captions to show.")
    ] = 10,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Remove captions that say the same as an earlier one, told by their embeddings.

    The earlier caption stays. Which cosine means "the same" depends on the embedding space and on
    the captions: look at examples first, then name a threshold.

    \b
    Examples:
      lqtse-cache dedupe my-cache --dry-run
      lqtse-cache dedupe my-cache --threshold 0.97 --dry-run
      lqtse-cache dedupe my-cache --threshold 0.97
    """
    from pipeline.dedupe import dedupe, look

    if threshold is None and not dry_run:
        raise UsageError(
            "name a threshold: none suits every embedding space",
            hint=f"Look first: {command_line('dedupe', cache, '--dry-run')}",
        )
    shown = progress("compare", "captions")
    if threshold is None:
        seen = look(cache, device=device, progress=shown)
        if as_json:
            console.summarise(asdict(seen), as_json=True)
            return
        console.say(f"cosine of a caption to the nearest earlier one, in {seen.space}")
        console.summarise(
            {
                f"{float(share):.0%} of captions at most": f"{value:.4f}"
                for share, value in seen.quantiles.items()
            },
            as_json=False,
        )
        for step in seen.steps:
            pair = step.example
            example = f"   {pair.cosine:.4f}  {pair.caption}  |  {pair.like}" if pair else ""
            console.say(f"  from {step.cosine:<5g}  {step.captions:>8,} captions{example}")
        console.say(f"next: {command_line('dedupe', cache, '--threshold', 'COS', '--dry-run')}")
        return
    report = dedupe(cache, threshold, dry=dry_run, examples=examples, device=device, progress=shown)
    if as_json:
        console.summarise(asdict(report), as_json=True)
        return
    for pair in report.examples:
        console.say(f"  {pair.cosine:.4f}  {pair.caption}  |  {pair.like}")
    facts: dict[str, object] = {
        "captions": report.captions,
        "would be removed" if report.dry else "removed": report.removed,
        "left": report.left,
        "from cosine": f"{report.threshold:g} in {report.space}",
    }
    following = ("dedupe", cache, "--threshold", threshold) if report.dry else ("stats", cache)
    console.summarise(facts, as_json=False, next_command=command_line(*following), title=str(cache))
