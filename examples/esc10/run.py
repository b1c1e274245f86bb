"""The experiment on real recordings with real CLAP embeddings; see README.md beside this file.

    python examples/esc10/run.py DATA [--out esc10-run] [--quick]
    python examples/esc10/run.py DATA --strategies [--out esc10-run]

Runs public commands and prints each; finished ones are not repeated, so it can be interrupted.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Annotated

import typer

from cache_store.console import run as run_app
from pipeline.steps import Walk, need_files

CLASSES = (
    *("chainsaw", "clock_tick", "crackling_fire", "crying_baby", "dog"),
    *("helicopter", "rain", "rooster", "sea_waves", "sneezing"),
)
# What someone who made these recordings might expect in them: more than is there.
CONCEPTS = (
    *("chainsaw", "ticking clock", "crackling fire", "crying baby", "dog barking", "helicopter"),
    *("rain", "rooster crowing", "sea waves", "sneezing", "bird chirping", "siren", "church bell"),
    *("wind", "car engine", "footsteps", "thunder", "cat meowing", "train", "crowd of people"),
)
POOL = 40  # neighbours that a diverse choice of five looks at
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
    strategies: Annotated[
        bool, typer.Option("--strategies", help="Only: strategies, where captions are many.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once.")] = 1,
) -> None:
    """Compare ways to make conditions on ESC-10, asked with text."""
    need_files(
        data,
        ("esc10_audio.parquet", "esc50_text.parquet"),
        "See examples/esc10/README.md for what the folder holds",
    )
    walk = Walk(out)
    here = Path(__file__).parent
    if strategies:
        _strategies(walk, data, here / "strategies.toml", jobs)
        return
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


def _strategies(walk: Walk, data: Path, plan: Path, jobs: int) -> None:
    """Train in the space `tiny` with a thousand captions of a grammar, and score fold 3."""
    walk.heading("A thousand captions, some fifty of each sound, and each recording's nearest")
    (walk.folder / "concepts.txt").write_text("".join(f"{one}\n" for one in CONCEPTS))
    write_clips(data, walk.folder / "tiny-clips.csv")
    chosen = ("-n", 1000, "--backend", "grammar", "--seed", 1, "--concepts", "concepts.txt")
    walk.run("lqtse-cache", "generate", "tiny-cache", *chosen)
    walk.run("lqtse-cache", "embed", "tiny-cache", "--space", "tiny")
    joined = ("tiny-clips.csv", "-o", "tiny-clips.parquet", "-k", POOL)
    walk.run("lqtse-cache", "join", "tiny-cache", *joined)
    walk.heading("Train on folds 1 and 2, and score fold 3")
    words = ("--out", "ablation", "--jobs", jobs)
    walk.run("lqtse", "ablate", os.path.relpath(plan, walk.folder), *words, again=True)


def write_clips(data: Path, path: Path) -> None:
    """The recordings without their embeddings, which are of another space, as a manifest."""
    from pyarrow.parquet import read_table

    columns = ("path", "label", "caption", "fold")
    rows = read_table(data / "esc10_audio.parquet", columns=[*columns]).to_pylist()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            place = os.path.relpath(data / row["path"], path.parent)
            writer.writerow({**row, "path": place})


if __name__ == "__main__":
    raise SystemExit(run_app(app, "run.py"))
