"""`lqtse-cache show`: a few rows of a cache, as they are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cache_store import console
from cache_store.printing import printable
from pipeline.cli.options import AsJson, CacheFolder

if TYPE_CHECKING:
    from pipeline.llm.base import Answer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show")(command)


def command(
    cache: CacheFolder,
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="How many, at most.")] = 10,
    seed: Annotated[
        Optional[int],
        typer.Option(
            min=0, metavar="S", help="Draw them at random.", show_default="the first ones"
        ),
    ] = None,
    rejects: Annotated[bool, typer.Option("--rejects", help="What was refused, and why.")] = False,
    reason: Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="Refused for this reason only.", show_default=False),
    ] = None,
    concept: Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="Of this concept only.", show_default=False),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="With --rejects: the whole answers, from the ledger.")
    ] = False,
    shard: Annotated[
        Optional[str],
        typer.Option(
            metavar="FILE",
            help="One file only: how its path, or its name, begins.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show some captions, or what was refused.

    Characters that a terminal would act on are spelled out; --json and the files have them as they
    came.

    \b
    Examples:
      lqtse-cache show my-cache --rows 5 --seed 1
      lqtse-cache show my-cache --concept "church bell"
      lqtse-cache show my-cache --rejects --reason not_audible
      lqtse-cache show my-cache --rejects --raw
      lqtse-cache show my-cache --shard data/3f2a
    """
    from pipeline.peek import Filter, peek

    seen = peek(
        cache,
        count=rows,
        seed=seed,
        rejects=rejects,
        shard=shard,
        only=Filter(reason, concept),
        raw=raw,
    )
    if as_json:
        file = asdict(seen.file) if seen.file else None
        found = [_plain(row) for row in seen.rows]
        console.summarise({"rows": found, "total": seen.total, "file": file}, as_json=True)
        return
    if seen.file is not None:
        file_facts = asdict(seen.file)
        console.note(", ".join(f"{name} {value}" for name, value in file_facts.items() if value))
    width = max(len(f"{row['row']:,}") for row in seen.rows)
    for row in seen.rows:
        why = f"{row['reason']}: " if "reason" in row else ""
        concepts = f"  [{', '.join(row['concepts'])}]" if row["concepts"] else ""
        console.say(f"{row['row']:>{width},}  {printable(why + row['caption'] + concepts)}")
        if raw:
            _say_answer(row["answer"], " " * (width + 2))
    console.note(f"{len(seen.rows):,} of {seen.total:,} rows")


def _say_answer(answer: Answer | None, margin: str) -> None:
    if answer is None:
        console.say(f"{margin}the ledger has no answer to it")
        return
    tokens = f"{answer.prompt_tokens:,} tokens read, {answer.completion_tokens:,} written"
    console.say(f"{margin}answer, ended by {printable(answer.finish_reason)!s}, {tokens}:")
    for line in answer.text.split("\n"):
        console.say(f"{margin}| {printable(line)}")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    answer = row.get("answer")
    return {**row, "answer": asdict(answer)} if answer is not None else row
