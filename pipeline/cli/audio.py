"""The options that say which clips of the user's audio to take, and how to embed them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Optional

import typer


@dataclass(frozen=True)
class AudioOptions:
    """Which clips, and how they are embedded; a group for `options.grouped`."""

    where: Annotated[
        Optional[str],
        typer.Option(
            metavar="EXPR",
            help='Take only clips for which this holds: "fold != 4".',
            show_default=False,
        ),
    ] = None
    label_from_folder: Annotated[
        bool, typer.Option("--label-from-folder", help="A clip's label is its folder's name.")
    ] = False
    space_name: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="Which model made the manifest's embeddings, where it does not say it.",
            show_default=False,
        ),
    ] = None
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="B", help="Windows of audio embedded at a time.")
    ] = 16
