"""`lqtse compare`: set evaluations of the same mixtures side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from cache_store import console

HELP = """Set the results of several evaluations side by side, the first as the base.

Means with 95 % intervals, by bootstrap over targets; differences are taken mixture by mixture.

\b
Example:
  lqtse compare audio=run-audio/results.csv top1=run-top1/results.csv
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("compare", help=HELP)(compare)


def compare(
    results: Annotated[
        list[str],
        typer.Argument(help="Files of `lqtse evaluate --out`, best as NAME=FILE.", metavar="FILE"),
    ],
    metrics: Annotated[
        str, typer.Option(help="Columns to show, with commas; the first is compared.")
    ] = "sdri,si_sdri",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    from cache_store.errors import UsageError
    from trainer.compare import difference, mean_of, parse_named, table

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if not names:
        raise UsageError("no metric to show", expected="columns such as sdri,si_sdri")
    runs = parse_named(results)
    if not as_json:
        console.say(table(runs, names))
        return
    facts: dict[str, object] = {}
    for run in runs:
        means = {name: vars(mean_of(run, name)) for name in names}
        gap = {} if run is runs[0] else {"difference": vars(difference(run, runs[0], names[0]))}
        facts[run.name] = {**means, **gap}
    console.summarise(facts, as_json=True)
