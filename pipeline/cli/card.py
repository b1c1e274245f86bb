"""`lqtse-cache card`: the dataset card, and under which terms the captions are."""

from __future__ import annotations

import re
from typing import Annotated, Optional

import typer

from cache_store import console
from cache_store.errors import UsageError
from pipeline.cli.options import AsJson, CacheFolder, command_line

# How the Hugging Face hub spells licences: "cc0-1.0", "apache-2.0", "other".
_LICENCE_ID = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("card")(command)


def command(
    cache: CacheFolder,
    licence: Annotated[
        Optional[str],
        typer.Option(
            "--license",
            metavar="ID",
            help="The licence that you give the captions, as the hub spells it: cc0-1.0, "
            "cc-by-4.0, other.",
            show_default=False,
        ),
    ] = None,
    model_licence: Annotated[
        Optional[str],
        typer.Option(
            "--model-license",
            metavar="TEXT",
            help="The licence and terms of the model that wrote them, in words.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the dataset card; with an option, record a licence in it first.

    The card is made anew from the cache's manifest by every command that changes the cache. It
    names no licence unless you give one.

    \b
    Examples:
      lqtse-cache card my-cache
      lqtse-cache card my-cache --license cc0-1.0 --model-license "Apache-2.0 (SmolLM2-135M)"
    """
    from cache_store.cache import open_cache
    from cache_store.card import render_card
    from cache_store.writer import open_writer

    if licence is not None and not _LICENCE_ID.fullmatch(licence):
        raise UsageError(
            "not the identifier of a licence",
            expected="lower-case letters, digits, dots and dashes, such as cc0-1.0",
            found=repr(licence),
        )
    given = {"license": licence, "model_license": model_licence}
    step = {name: value for name, value in given.items() if value}
    with open_cache(cache) as store:
        manifest = store.manifest
    if step:
        with open_writer(cache, create=False) as writer:
            manifest = writer.publish(step={"step": "card", **step})
    card = render_card(manifest)
    if as_json:
        console.summarise(
            {"card": card, **step}, as_json=True, next_command=command_line("verify", cache)
        )
        return
    console.say(card.rstrip())
