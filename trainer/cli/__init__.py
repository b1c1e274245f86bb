"""The command line `lqtse`: one module a command, each with a `register(app)`.

Nothing heavy is imported at the top of any of them: `lqtse --help` has to answer at once, so torch,
numpy and the like are imported inside the command that needs them.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cache_store import console
from trainer.cli import ablate, calibrate, compare, evaluate, export, init, separate, train

PROG = "lqtse"

EPILOG = """\b
Exit codes:
  0    done
  1    unexpected
  2    usage: a flag, a path or a setting that cannot work
  3    bad data: the input, the cache or a checkpoint is not what it should be
  4    mismatch: another model, version or configuration
  130  interrupted
\b
Start here:
  lqtse-cache demo     the whole way on this machine, offline
  lqtse train --help   what training needs
"""

app = typer.Typer(
    name=PROG,
    help="Train, measure and use separators that are asked for a sound in words.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.say(f"{PROG} {version('lqtse')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train, measure and use separators that are asked for a sound in words."""


# In the order in which a user meets them.
for _command in (train, evaluate, compare, ablate, init, calibrate, separate, export):
    _command.register(app)


def main() -> None:
    """Run `lqtse` with the arguments of this process, and exit with its code."""
    sys.exit(console.run(app, PROG))
