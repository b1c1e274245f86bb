"""`lqtse-cache retry`: ask again what got no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cache_store import console
from cache_store.errors import UsageError
from pipeline.cli.asking import Asking
from pipeline.cli.options import AsJson, CacheFolder, command_line, grouped, progress

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.llm.select import Chosen
    from pipeline.retry import RetryReport
    from prompts.plan import Plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("retry")(command)


@grouped
def command(
    cache: CacheFolder,
    asking: Asking,
    refused: Annotated[
        bool,
        typer.Option(
            "--refused", help="Also where the answer was a refusal, cut, filtered or garbage."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask again what got no answer, and nothing else.

    Give it the options of the `generate` or `grow` that failed (of grow: those that say who is
    asked, and --concepts). Captions of the new answers are added to what the cache has; nothing
    that was published changes. Killed at any moment, the same command goes on, and no answer is
    paid twice. With --refused the first answers stay in the ledger; it helps where the model does
    not always say the same to the same request.

    \b
    Examples:
      lqtse-cache retry my-cache --backend openai --model gpt-4o-mini
      lqtse-cache retry my-cache --backend openai --model Qwen/Qwen3-8B \\
          --base-url http://127.0.0.1:8000/v1 --refused
      lqtse-cache retry my-cache --concepts heard.txt --backend openai-batch --model gpt-4o-mini
    """
    bank = asking.bank()
    chosen = asking.open()
    plan = asking.plan(bank, chosen.backend.model, chosen.backend.style)
    report = _retry(cache, asking, chosen, plan, refused)
    if report.outcome == "stopped":
        console.note(
            f"stopped: {report.answered:,} of {report.failures:,} requests have an answer now"
        )
        raise KeyboardInterrupt
    if report.outcome == "waiting":
        console.note(f"{report.traffic.waiting}: run the same command in an hour or so")
    if report.outcome == "nothing to do":
        console.note(f"nothing to do: {_nothing(report)}")
    if report.outcome == "budget spent":
        raise UsageError(
            f"{report.bound} is spent with {report.answered:,} of {report.failures:,} requests "
            "answered",
            where=cache,
            hint=f"What is kept can be used; a larger {report.bound} goes on from here",
        )
    console.summarise(
        _facts(report),
        as_json=as_json,
        next_command=command_line("status", cache),
        title=f"retried {cache}",
    )


def _retry(cache: Path, asking: Asking, chosen: Chosen, plan: Plan, refused: bool) -> RetryReport:
    """Ask again for each plan that these options make, until one does not come to its end."""
    from pipeline.retry import plans_to_retry, retry

    total: RetryReport | None = None
    # Where there is none, `retry` says what the cache has instead.
    plans = plans_to_retry(cache, plan) or [plan]
    for place, one in enumerate(plans):
        if place:
            chosen = asking.open()  # a run closes its own
        report = retry(
            cache,
            one,
            chosen.backend,
            refused=refused,
            limits=asking.limits(chosen),
            source=chosen.source,
            progress=progress("retry", "requests"),
            notes=asking.notes(),
        )
        total = report if total is None else total + report
        if report.outcome not in ("done", "nothing to do"):
            break
    assert total is not None
    return total


def _nothing(report: RetryReport) -> str:
    if report.left:
        return "every request has an answer; --refused asks again where it was not what was asked"
    return "nothing failed in this plan"


def _facts(report: RetryReport) -> dict[str, object]:
    facts: dict[str, object] = {
        "failures": report.failures,
        "answered now": report.answered,
        "captions kept": report.kept,
        "refused": report.rejected,
        "still failed": report.left,
        "attempts failed": report.traffic.retries,
        "tokens read": report.traffic.prompt_tokens,
        "tokens written": report.traffic.completion_tokens,
    }
    if report.priced:
        facts["cost in USD"] = round(report.traffic.usd, 6)
    facts["seconds"] = round(report.seconds, 1)
    facts["captions of this plan"] = report.plan_total
    return facts
