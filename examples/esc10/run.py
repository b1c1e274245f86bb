"""The experiment on real recordings with real CLAP embeddings; see README.md beside this file.

    python examples/esc10/run.py DATA [--out esc10-run] [--seed 0]

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
TRAIN, VALIDATE, TEST = "fold in (1, 2)", "fold == 3", "fold == 4"
MIXTURES = 320  # four of each of the 80 test recordings, about

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    data: Annotated[
        Path, typer.Argument(help="Folder with esc10_audio.parquet, esc50_text.parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("esc10-run"),
    seed: Annotated[int, typer.Option(min=0, help="Of the trainings.")] = 0,
) -> None:
    """Compare audio, top1 and caption conditions on ESC-10, asked with text."""
    for name in ("esc10_audio.parquet", "esc50_text.parquet"):
        if not (data / name).is_file():
            raise DataError(
                "a file of the data is missing",
                where=data / name,
                hint="See examples/esc10/README.md for what the folder holds",
            )
    walk = Walk(out)
    audio, texts, config = (
        os.path.relpath(path, out)
        for path in (
            data / "esc10_audio.parquet",
            data / "esc50_text.parquet",
            Path(__file__).with_name("train.toml"),
        )
    )
    walk.heading("The fifty texts as a cache, and the same without the ten classes' own texts")
    others = f"label not in {CLASSES!r}"
    for cache, words in (("cache", ()), ("cache-without", ("--where", others))):
        walk.run("lqtse-cache", "import", cache, "--captions", texts, "--embeddings", *words)
        walk.run("lqtse-cache", "index", cache)

    results: dict[str, str] = {}
    for name, strategy, cache in (
        ("audio", "audio", "cache"),
        ("top1", "top1", "cache"),
        ("caption", "caption", "cache"),
        ("top1-without", "top1", "cache-without"),
        ("topk-mean-without", "topk-mean", "cache-without"),
    ):
        walk.heading(f"{name}: train on folds 1 and 2, choose on fold 3, score fold 4 once")
        walk.run(
            *("lqtse", "train", "--cache", cache, "--audio", audio, "--out", name),
            *("--strategy", strategy, "--space", f"stored:{texts}", "--config", config),
            *("--where", TRAIN, "--valid-where", VALIDATE, "--seed", seed, "--resume"),
        )
        results[name] = f"{name}.csv"
        walk.run(
            *("lqtse", "evaluate", name, "--audio", audio, "--where", TEST, "--seconds", 2),
            *("--mixtures", MIXTURES, "--out", results[name]),
        )
    walk.heading("With the ten classes' texts in the cache, and without them")
    walk.run("lqtse", "compare", "audio.csv", "top1.csv", "caption.csv", again=True)
    walk.run(
        *("lqtse", "compare", "audio.csv", "top1-without.csv", "topk-mean-without.csv"),
        *("caption.csv",),
        again=True,
    )


if __name__ == "__main__":
    raise SystemExit(run_app(app, "run.py"))
