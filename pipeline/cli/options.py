"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store import console

if TYPE_CHECKING:
    from collections.abc import Callable


class Dtype(str, Enum):
    """How embeddings are stored."""

    float16 = "float16"
    float32 = "float32"


CacheFolder = Annotated[
    Path, typer.Argument(metavar="CACHE", help="The cache's folder.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
SpaceSpec = Annotated[
    Optional[str],
    typer.Option(
        "--space",
        metavar="SPACE",
        help="tiny | laion:CHECKPOINT | hf:ID_OR_FOLDER | stored:FILE.parquet",
        show_default="the cache's own",
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="auto | cpu | cuda | cuda:N", metavar="DEVICE")
]
Neighbours = Annotated[
    int, typer.Option("-k", min=1, metavar="K", help="How many captions, at most the cache's.")
]
OptionalDtype = Annotated[
    Optional[Dtype],
    typer.Option("--dtype", help="How to store embeddings.", show_default="the cache's own"),
]


def command_line(*words: object) -> str:
    """A command as a user would type it, quoted where it must be."""
    return shlex.join(["lqtse-cache", *map(str, words)])


def progress(label: str, unit: str) -> Callable[[int], AbstractContextManager[console.Advance]]:
    """Progress whose total is known only later."""
    return lambda total: console.progress(label, total, unit)
