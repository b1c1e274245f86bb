"""Adapt a separator to recordings of one's own, without labels; see README.md beside this file.

    python examples/finetune/run.py DATA [--out finetune-run]

Runs public commands and prints each; finished ones are not repeated, so it can be interrupted.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from figure import draw  # beside this file

from cache_store.console import run as run_app
from pipeline.steps import Walk, need_files

OWN = ("rain", "rooster", "sea_waves", "sneezing")
FOLDS = (1, 2, 3)  # the fourth is heard by no one before the end

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    data: Annotated[
        Path, typer.Argument(help="Folder with esc10_audio.parquet, esc50_text.parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("finetune-run"),
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once.")] = 1,
) -> None:
    """Pre-train on six classes of ESC-10, adapt to the other four without labels."""
    need_files(
        data,
        ("esc10_audio.parquet", "esc50_text.parquet"),
        "See examples/esc10/README.md for what the folder holds",
    )
    walk = Walk(out)
    here = Path(__file__).parent
    audio, texts, choose, adapt, forget = (
        os.path.relpath(path, out)
        for path in (
            data / "esc10_audio.parquet",
            data / "esc50_text.parquet",
            *(here / name for name in ("choose.toml", "adapt.toml", "forgetting.toml")),
        )
    )
    write_manifests(data / "esc10_audio.parquet", out)
    space = ("--space", f"stored:{texts}")
    ablate = ("--audio", audio, *space, "--out", "ablation", "--jobs", jobs)

    walk.heading("A cache that knows nothing of the four, and a separator trained with it")
    others = f"label not in {OWN!r}"
    for cache in ("cache", "cache-own"):
        walk.run("lqtse-cache", "import", cache, *words(texts), "--where", others)
    walk.run("lqtse", "ablate", adapt, *ablate, "--only", "before", again=True)

    walk.heading("The cache grown for one's own recordings")
    walk.run("lqtse-cache", "grow", "cache-own", "own.parquet", *space)

    walk.heading("How to adapt: scored on fold 3")
    walk.run("lqtse", "ablate", choose, *ablate, again=True)

    walk.heading("Adapt; score the four on fold 4")
    walk.run("lqtse", "ablate", adapt, *ablate, again=True)

    walk.heading("What was forgotten: the same runs, scored on the six")
    walk.run("lqtse", "ablate", forget, *ablate, again=True)

    draw(here, out, {"audio": audio, "space": space[1]})
    walk.heading(f"before and after, class by class: {out / 'finetune.png'}")


def words(texts: str) -> tuple[str, ...]:
    """How to import captions with their embeddings."""
    return ("--captions", texts, "--embeddings")


def write_manifests(source: Path, out: Path) -> None:
    """Manifests of recordings without label or caption: of six classes, of the others, of all."""
    table = pq.read_table(source)
    table = table.filter(pc.is_in(table["fold"], pa.array(FOLDS, pa.int8())))
    own = pc.is_in(table["label"], pa.array(OWN))
    paths = [os.path.relpath(source.parent / path, out) for path in table["path"].to_pylist()]
    nameless = table.set_column(0, "path", pa.array(paths)).select(["path", "fold", "embedding"])
    for name, chosen in (
        ("six", nameless.filter(pc.invert(own))),
        ("own", nameless.filter(own)),
        ("ten", nameless),
    ):
        pq.write_table(chosen, out / f"{name}.parquet")


if __name__ == "__main__":
    raise SystemExit(run_app(app, "run.py"))
