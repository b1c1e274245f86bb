"""The experiment on real recordings with real CLAP embeddings; see README.md beside this file.

    python examples/esc10/run.py DATA [--out esc10-run] [--quick]

Runs public commands and prints each; finished ones are not repeated, so it can be interrupted.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cache_store.console import run as run_app
from cache_store.errors import DataError
from pipeline.steps import Walk

CLASSES = (
    *("chainsaw", "clock_tick", "crackling_fire", "crying_baby", "dog"),
    *("helicopter", "rain", "rooster", "sea_waves", "sneezing"),
)
QUICK = ("--only", "audio", "--only", "top1", "--only", "caption", "--seed", "0")

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    data: Annotated[
        Path, typer.Argument(help="Folder with esc10_audio.parquet, esc50_text.parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("esc10-run"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Only audio, top1 and caption, and one seed.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once.")] = 1,
) -> None:
    """Compare ways to make conditions on ESC-10, asked with text."""
    for name in ("esc10_audio.parquet", "esc50_text.parquet"):
        if not (data / name).is_file():
            raise DataError(
                "a file of the data is missing",
                where=data / name,
                hint="See examples/esc10/README.md for what the folder holds",
            )
    walk = Walk(out)
    here = Path(__file__).parent
    audio, texts, full, without = (
        os.path.relpath(path, out)
        for path in (
            data / "esc10_audio.parquet",
            data / "esc50_text.parquet",
            here / "ablate.toml",
            here / "ablate-without.toml",
        )
    )
    walk.heading("The fifty texts as a cache, and the same without the ten classes' own texts")
    others = f"label not in {CLASSES!r}"
    for cache, words in (("cache", ()), ("cache-without", ("--where", others))):
        walk.run("lqtse-cache", "import", cache, "--captions", texts, "--embeddings", *words)
        walk.run("lqtse-cache", "index", cache)
    shared = ("--audio", audio, "--space", f"stored:{texts}", "--out", "ablation", "--jobs", jobs)
    walk.heading("Train on folds 1 and 2, choose on fold 3, score fold 4 once")
    walk.run("lqtse", "ablate", full, *shared, *(QUICK if quick else ()), again=True)
    if not quick:
        walk.heading("The same with the ten classes' own texts taken out of the cache")
        walk.run("lqtse", "ablate", without, *shared, again=True)


if __name__ == "__main__":
    raise SystemExit(run_app(app, "run.py"))
