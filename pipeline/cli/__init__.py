"""The command line `lqtse-cache`: one module a command, each with a `register(app)`.

Nothing heavy is imported at the top of any of them: `lqtse-cache --help` has to answer at once, so
torch, numpy, pyarrow and the like are imported inside the command that needs them.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cache_store import console
from pipeline.cli import (
    batches,
    card,
    compact,
    concepts,
    dedupe,
    demo,
    diversity,
    doctor,
    embed,
    export,
    generate,
    grow,
    import_,
    index,
    join,
    merge,
    plan,
    push,
    remove,
    repair,
    report,
    retry,
    search,
    show,
    sounds,
    stats,
    status,
    verify,
)

PROG = "lqtse-cache"

EPILOG = """\b
Exit codes:
  0    done
  1    unexpected
  2    usage: a flag, a path or a setting that cannot work
  3    bad data: the input or the cache is not what it should be
  4    mismatch: another model, version or configuration
  5    the remote side failed
  130  interrupted
\b
Start here:
  lqtse-cache demo       the whole way on this machine, offline
  lqtse-cache doctor     what is installed, and how to get the rest
"""

app = typer.Typer(
    name=PROG,
    help="Build, search and check caption caches for language-queried target sound extraction.",
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
    """Build, search and check caption caches for language-queried target sound extraction."""


# In the order in which a user meets them.
for _command in (
    demo,
    concepts,
    plan,
    generate,
    status,
    retry,
    batches,
    import_,
    embed,
    index,
    search,
    join,
    grow,
    show,
    stats,
    report,
    card,
    export,
    push,
    verify,
    repair,
    diversity,
    dedupe,
    remove,
    compact,
    merge,
    sounds,
    doctor,
):
    _command.register(app)


def main() -> None:
    """Run `lqtse-cache` with the arguments of this process, and exit with its code."""
    sys.exit(console.run(app, PROG))
