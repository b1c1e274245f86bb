"""`lqtse-cache push`: a cache to the Hugging Face hub."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from cache_store import console
from pipeline.cli.options import AsJson, CacheFolder, command_line, progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push")(command)


def command(
    cache: CacheFolder,
    repo: Annotated[
        str,
        typer.Argument(
            metavar="REPO",
            help="A dataset repository: USER/NAME, or NAME for your own.",
            show_default=False,
        ),
    ],
    private: Annotated[
        bool,
        typer.Option("--private", help="Make it private; one that is there and public is refused."),
    ] = False,
    revision: Annotated[
        str, typer.Option(metavar="BRANCH", help="The branch; made from main if it is not there.")
    ] = "main",
    report: Annotated[bool, typer.Option("--report", help="Take report/ along.")] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Take the place of another cache or of something else; the branch's history "
            "keeps what was there.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List exactly what would go, and send nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a cache on the Hugging Face hub, where load_dataset opens it by its name.

    What the newest manifest names goes, and README.md: no ledger, no report unless asked for. Every
    file is checked against its hash first; what the hub has is not sent again, so an interrupted
    push goes on; and one commit makes all of it visible. Your token is the one of `hf auth login`,
    or HF_TOKEN.

    \b
    Examples:
      lqtse-cache push my-cache me/captions --dry-run
      lqtse-cache push my-cache me/captions --private
      lqtse-cache push my-cache me/captions --revision trial
    """
    from pipeline.push import push_cache

    done = push_cache(
        cache,
        repo,
        private=private,
        branch=revision,
        report=report,
        replace=replace,
        dry=dry_run,
        checking=progress("check", "bytes"),
        progress=progress("push", "bytes"),
        note=console.warn,
    )
    facts: dict[str, object] = {
        "repository": done.repo,
        "branch": done.branch,
        "files": len(done.files),
        "bytes": sum(item.size for item in done.files),
    }
    if dry_run:
        if as_json:
            facts["list"] = [{"path": item.path, "bytes": item.size} for item in done.files]
        else:
            for item in done.files:
                console.say(f"{item.size:>15,}  {item.path}")
        title = "nothing was sent; what would be there is listed above"
        given = {"--private": private, "--report": report, "--replace": replace}
        words = [name for name, wanted in given.items() if wanted]
        words += ["--revision", revision] if revision != "main" else []
        next_command = command_line("push", cache, repo, *words)
    else:
        facts |= {
            "sent": len(done.sent),
            "bytes sent": sum(item.size for item in done.sent),
            "removed": len(done.removed),
            "commit": done.address or "none: the hub has all of it",
        }
        title = ""
        where = f'"{done.repo}"' + (f', revision="{revision}"' if revision != "main" else "")
        code = f"from datasets import load_dataset; print(load_dataset({where}))"
        next_command = shlex.join(["python", "-c", code])
    console.summarise(facts, as_json=as_json, title=title, next_command=next_command)
