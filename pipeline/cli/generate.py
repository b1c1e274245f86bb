"""`lqtse-cache generate`: let a language model write captions."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cache_store import console
from cache_store.errors import LqtseError, UsageError
from pipeline.cli.asking import Asking, Captions
from pipeline.cli.options import AsJson, CacheFolder, command_line, grouped

if TYPE_CHECKING:
    from pipeline.generate import Report
    from pipeline.panel import Progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(command)


@grouped
def command(
    cache: CacheFolder,
    n: Captions,
    asking: Asking,
    append: Annotated[
        bool,
        typer.Option("--append", help="Add captions of another seed, model or list of concepts."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a language model write captions, until the cache has N of them.

    Every answer is kept in the cache's ledger before it is used: after Ctrl-C, an error or a crash,
    run the same command again, and nothing that was answered is asked (or paid) twice.

    \b
    Examples:
      lqtse-cache generate my-cache -n 300
      lqtse-cache generate my-cache -n 100000 --backend openai --model gpt-4o-mini \\
          --prices prices.json --max-usd 5
      lqtse-cache generate my-cache -n 1000000 --backend openai --model Qwen/Qwen3-8B \\
          --base-url http://127.0.0.1:8000/v1 --concurrency 64
      lqtse-cache generate my-cache -n 100000 --backend openai-batch --model gpt-4o-mini
      lqtse-cache generate my-cache -n 1000000 --backend vllm --model Qwen/Qwen3-8B
    """
    # Arrow's own allocator would keep some 7 MB more than the system's for one small shard.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from pipeline.generate import generate
    from pipeline.panel import Progress, plain_line, shown

    bank = asking.bank()
    chosen = asking.open()
    writer = chosen.backend
    limits = asking.limits(chosen)
    plan = asking.plan(bank, writer.model, writer.style)
    if not writer.uses_llm:
        console.note(f"no language model is involved: --backend {writer.name}")
    progress = Progress(title=f"{writer.name}, {writer.model}")
    try:
        with shown(progress) as changed:
            report = generate(
                cache,
                plan,
                writer,
                n,
                limits=limits,
                append=append,
                source=chosen.source,
                progress=progress,
                changed=changed,
                notes=asking.notes(),
            )
    except LqtseError:
        if progress.traffic.asked or progress.traffic.replayed:
            console.note(plain_line(progress))
        raise
    words = [*asking.words(), *(["--append"] if append else [])]
    _end(cache, report, as_json, command_line("generate", cache, "-n", n, *words))


def _end(cache: Path, report: Report, as_json: bool, same: str) -> None:
    if report.outcome == "stopped":
        console.note(
            f"stopped: {report.plan_total:,} of {report.progress.wanted:,} captions are in "
            f"{cache}, and every answer is in its ledger"
        )
        _left_at_server(cache, report)
        raise KeyboardInterrupt
    if report.outcome == "waiting":
        console.note(f"{report.progress.traffic.waiting}: run the same command in an hour or so")
        console.summarise(_facts(report), as_json=as_json, next_command=same)
        return
    if report.outcome == "already there":
        console.note(f"nothing to do: the cache has {report.plan_total:,} captions of this plan")
    if report.outcome == "budget spent":
        raise UsageError(
            f"{report.bound} is spent with {report.plan_total:,} of {report.progress.wanted:,} "
            "captions",
            where=cache,
            hint=f"What is kept can be used; a larger {report.bound} goes on from here",
        )
    if report.unanswered:
        many = sum(report.unanswered.values())
        console.note(
            f"{many:,} requests got no answer: {command_line('retry', cache)}, with the same "
            "options, asks them again"
        )
    _left_at_server(cache, report)
    console.summarise(
        _facts(report),
        as_json=as_json,
        next_command=command_line("embed", cache, "--space", "tiny"),
        title=f"generated {cache}",
    )


def _left_at_server(cache: Path, report: Report) -> None:
    """Say what goes on without us, and what to do about it."""
    traffic = report.progress.traffic
    if traffic.waiting:
        console.note(
            f"{traffic.waiting}, and goes on there: the same command collects it, "
            f"{command_line('batches', cache, '--cancel')} cancels it"
        )


def _facts(report: Report) -> dict[str, object]:
    progress: Progress = report.progress
    traffic = progress.traffic
    facts: dict[str, object] = {
        "captions kept": report.kept,
        "refused": report.rejected,
        "requests answered": traffic.asked,
        "answers from the ledger": traffic.replayed,
        "requests without an answer": report.unanswered,
        "attempts failed": traffic.retries,
        "tokens read": traffic.prompt_tokens,
        "tokens written": traffic.completion_tokens,
    }
    if progress.share_kept is not None:
        facts["share kept"] = round(progress.share_kept, 3)
    if progress.priced:
        facts["cost in USD"] = round(traffic.usd, 6)
    facts["seconds"] = round(progress.seconds, 1)
    with suppress(ZeroDivisionError):
        facts["captions a second"] = round(report.kept / round(progress.seconds, 3), 2)
    facts["captions of this plan"] = report.plan_total
    facts["captions in the cache"] = report.cache_total
    return facts
