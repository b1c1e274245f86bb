"""`lqtse-cache batches`: what a cache has at servers with the Batch API."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cache_store import console
from cache_store.errors import ConfigError
from pipeline.cli.options import AsJson, CacheFolder, command_line

if TYPE_CHECKING:
    from pipeline.batches import BatchStanding


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("batches")(command)


def command(
    cache: CacheFolder,
    cancel: Annotated[
        bool,
        typer.Option("--cancel", help="Cancel them all, and keep what was answered already."),
    ] = False,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Cross them out without asking the server: for batches that are lost. Their "
            "requests will be submitted, and paid, again.",
        ),
    ] = False,
    base_url: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="URL",
            help="A server with a user name and a password, which a cache does not keep.",
            show_default=False,
        ),
    ] = None,
    keep_files: Annotated[
        bool, typer.Option("--keep-files", help="Leave their files at the server.")
    ] = False,
    poll: Annotated[
        float,
        typer.Option(
            min=0.01, metavar="SECONDS", help="Time between two looks at what is being cancelled."
        ),
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Show the batches that `generate --backend openai-batch` has at the server, or cancel them.

    Showing changes nothing, and works while `generate` waits. The key is read from OPENAI_API_KEY.

    \b
    Examples:
      lqtse-cache batches my-cache
      lqtse-cache batches my-cache --cancel
    """
    from pipeline.batches import batches, cancel_batches, forget_batches, server_at
    from pipeline.llm.openai_server import KEY_VARIABLE

    if cancel and forget:
        raise ConfigError(["--cancel and --forget exclude each other"])
    generate = command_line("generate", cache, "--backend", "openai-batch", "...")
    if forget:
        facts: dict[str, object] = {"batches forgotten": forget_batches(cache)}
        console.summarise(facts, as_json=as_json, next_command=generate)
        return
    servers = server_at(base_url or (), os.environ.get(KEY_VARIABLE))
    if cancel:
        done = cancel_batches(cache, servers, poll=poll, keep_files=keep_files)
        facts = {
            "batches cancelled": done.batches,
            "answers kept": done.answers,
            "requests without an answer": done.requests,
            "files that could not be deleted": done.files_left,
        }
        console.summarise(facts, as_json=as_json, next_command=generate)
        return
    found = batches(cache, servers)
    if as_json:
        console.summarise({"batches": [asdict(one) for one in found]}, as_json=True)
        return
    if not found:
        console.note("no batches")
    for one in found:
        console.say(_line(one))
    if found:
        console.say(f"next: {generate}")


def _line(one: BatchStanding) -> str:
    text = f"{one.batch or 'not submitted'}  {one.status}  {one.requests:,} requests"
    if one.completed is not None and one.failed is not None:
        text += f", {one.completed:,} done, {one.failed:,} failed"
    if one.worst_usd:
        text += f", at most ${one.worst_usd:,.4f}"
    return f"{text}  ({one.model} at {one.server})"
