"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional, get_type_hints

import typer

from cache_store import console


class EngineName(str, Enum):
    """Where the work runs."""

    local = "local"
    ray = "ray"


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
Centred = Annotated[
    bool,
    typer.Option(
        "--centred",
        help="Search with the means of audio and text taken off (lqtse-cache index --centre).",
    ),
]
OptionalDtype = Annotated[
    Optional[Dtype],
    typer.Option("--dtype", help="How to store embeddings.", show_default="the cache's own"),
]


@dataclass(frozen=True)
class Crew:
    """Where the work runs and how many do it; the same result whatever is chosen."""

    engine: Annotated[
        EngineName,
        typer.Option(
            help="Where the work runs: processes of this machine, or a Ray cluster "
            "(pip install 'lqtse[ray]')."
        ),
    ] = EngineName.local
    address: Annotated[
        Optional[str],
        typer.Option(
            metavar="HOST:PORT",
            help="A running Ray cluster that this machine is part of; `auto` finds it.",
            show_default="a Ray of its own, here",
        ),
    ] = None
    workers: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            metavar="W",
            help="Processes; the result is the same whatever their number.",
            show_default="by the work and the machine",
        ),
    ] = None


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of those of its parameters that are dataclasses.

    So a group of options that several commands share is declared once, and each command gets it
    filled in as one value.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name not in groups:
            parameters.append(parameter.replace(annotation=hints[parameter.name]))
            continue
        kinds = get_type_hints(groups[parameter.name], include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name, parameter.kind, default=field.default, annotation=kinds[field.name]
            )
            for field in fields(groups[parameter.name])
        ]

    def run(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    # Without the default of a parameter before one that has none, a signature is refused.
    required = [one for one in parameters if one.default is inspect.Parameter.empty]
    optional = [one for one in parameters if one.default is not inspect.Parameter.empty]
    run.__dict__["__signature__"] = inspect.Signature([*required, *optional])
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__doc__ = command.__doc__
    return run


def command_line(*words: object) -> str:
    """A command as a user would type it, quoted where it must be."""
    return shlex.join(["lqtse-cache", *map(str, words)])


def progress(label: str, unit: str) -> Callable[[int], AbstractContextManager[console.Advance]]:
    """Progress whose total is known only later."""
    return lambda total: console.progress(label, total, unit)
