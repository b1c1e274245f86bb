"""`lqtse ablate`: several strategies and seeds, one table, one plot."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store import console

if TYPE_CHECKING:
    from trainer.ablation import Ablation, ArmSummary

HELP = """Train several strategies with several seeds and score them on the same mixtures.

FILE says what to compare: [train], [evaluate], one [[arm]] each, `seeds`. Everything goes into
--out: runs, results, logs, a page with the table and a plot, both named after FILE (the plot
needs the extra `plot`). Several FILEs may share an --out: what is equal is trained once.
Run the same command again after an interruption: what is finished is kept. An arm that fails
holds up no other, and the table shows the rest.

\b
Example:
  lqtse ablate ablate.toml --audio clips.parquet --cache captions --out ablation
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("ablate", help=HELP)(ablate)


def ablate(
    file: Annotated[Path, typer.Argument(help="The plan, a TOML file.", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="Folder of everything.")] = Path("ablation"),
    cache: Annotated[
        Optional[str], typer.Option(help="The caption cache, where an arm does not name its own.")
    ] = None,
    audio: Annotated[Optional[str], typer.Option(help="A folder, or a manifest.")] = None,
    space: Annotated[
        Optional[str], typer.Option(help="As for `lqtse train`. [default: the cache's own]")
    ] = None,
    only: Annotated[
        Optional[list[str]],
        typer.Option(help="An arm to have; may be repeated. [default: all]", metavar="ARM"),
    ] = None,
    seeds: Annotated[
        Optional[list[int]], typer.Option("--seed", help="A seed instead of the file's; repeat.")
    ] = None,
    steps: Annotated[Optional[int], typer.Option(help="Optimizer steps of each run.")] = None,
    device: Annotated[Optional[str], typer.Option(help="auto, cpu, cuda or mps.")] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at once; they share the cores evenly.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the plan and list the runs; train nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    from trainer.ablation import read_ablation

    flags = {"cache": cache, "audio": audio, "space": space, "steps": steps, "device": device}
    ablation = read_ablation(file, out, flags, only=only or (), seeds=seeds or ())
    left = [job for job in ablation.jobs if not job.results.is_file()]
    if dry_run:
        facts = {"runs": len(ablation.jobs), "to do": [job.name for job in left]}
        console.summarise(facts, as_json=as_json)
        return
    from trainer.ablation.execute import AblationError

    try:
        _run(ablation, len(left), jobs)
    except AblationError:
        # What is finished is shown all the same; the error is told below it.
        if any(all(job.results.is_file() for job in ablation.of(arm)) for arm in ablation.arms):
            _finish(ablation, file.stem, as_json)
        raise
    _finish(ablation, file.stem, as_json)


def _run(ablation: Ablation, left: int, parallel: int) -> None:
    from trainer.ablation.execute import Runner
    from trainer.ablation.plan import Job

    with console.progress("ablate", len(ablation.jobs), "runs") as advance:
        advance(len(ablation.jobs) - left)

        def report(what: str, job: Job) -> None:
            if what == "done":
                advance(1)
            else:
                console.note(f"{what}: {job.name}")

        Runner(ablation, parallel, report).run()


def _finish(ablation: Ablation, name: str, as_json: bool) -> None:
    from cache_store.errors import MissingDependencyError, storage_errors
    from cache_store.files import replace_file
    from trainer.ablation import summarise_arms
    from trainer.ablation.plot import draw
    from trainer.ablation.report import results_page, table

    arms = summarise_arms(ablation)
    page, plot = ablation.out / f"{name}.md", ablation.out / f"{name}.png"
    command = "lqtse " + shlex.join(sys.argv[1:])
    with storage_errors(page):
        replace_file(page, results_page(ablation, arms, command).encode())
    try:
        draw(ablation, arms, plot)
    except MissingDependencyError as error:
        console.warn(error.message)
    if as_json:
        console.summarise(_facts(ablation, arms), as_json=True)
        return
    console.say(table(ablation, arms))
    console.say(
        f"next: {shlex.join(['lqtse', 'separate', ablation.jobs[0].config.out])} "
        'RECORDING --query "TEXT" -o estimate.wav'
    )


def _facts(ablation: Ablation, arms: list[ArmSummary]) -> dict[str, object]:
    facts: dict[str, object] = {"out": str(ablation.out), "baseline": ablation.baseline.name}
    for one in arms:
        facts[one.arm.name] = {
            **{name: vars(interval) for name, interval in one.means.items()},
            "seeds": one.seeds,
            "to_baseline": vars(one.to_baseline) if one.to_baseline else None,
            "to_upper": vars(one.to_upper) if one.to_upper else None,
        }
    return facts
