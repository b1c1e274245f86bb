"""`lqtse-cache status`: what was paid, what failed, what is pending."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from cache_store import console
from pipeline.cli.options import AsJson, CacheFolder, command_line

if TYPE_CHECKING:
    from pipeline.status import PlanStatus


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(command)


def command(cache: CacheFolder, as_json: AsJson = False) -> None:
    """Say what was paid, what failed and what is pending, plan by plan.

    Changes nothing, and works while `generate` runs. Failed are requests without an answer, which
    `retry` asks again; unusable are answers that were refused, cut, filtered or garbage. Requests
    that wait in batches are counted from the cache's own book: `batches` asks the server.

    \b
    Examples:
      lqtse-cache status my-cache
      lqtse-cache status my-cache --json
    """
    from pipeline.status import status

    found = status(cache)
    following = command_line(_next(found.plans), cache)
    if as_json:
        facts = {"plans": [asdict(one) for one in found.plans], "ledger": found.ledger}
        facts["writer"] = found.writer or None
        console.summarise(facts, as_json=True, next_command=following)
        return
    if found.writer:
        console.note(f"{found.writer} writes to it now")
    if not found.plans:
        console.note("no captions were asked for here" + ("" if found.ledger else ": no ledger"))
    elif not found.ledger:
        console.note("no ledger: what was paid and what failed is not known here")
    for one in found.plans:
        console.summarise(_facts(one), as_json=False, title=_title(one))
    console.say(f"next: {following}")


def _next(plans: tuple[PlanStatus, ...]) -> str:
    if any(one.in_batches for one in plans):
        return "batches"
    return "retry" if any(one.failed for one in plans) else "stats"


def _title(one: PlanStatus) -> str:
    if not one.plan:
        return "plan not noted"
    if one.seed is None:
        return f"plan {one.plan}: nothing published yet"
    return f"plan {one.plan}: {one.model}, seed {one.seed}, {one.template}"


def _waiting(one: PlanStatus) -> str | None:
    """None without a batch, so that who does not use them reads nothing of them."""
    if not one.batches:
        return None
    batches = "1 batch" if one.batches == 1 else f"{one.batches:,} batches"
    return f"{one.in_batches:,} in {batches}"


def _facts(one: PlanStatus) -> dict[str, object]:
    facts: dict[str, object] = {
        "captions kept": one.captions,
        "asked for": one.wanted,
        "captions pending": one.pending,
        "next request": one.next_request,
        "answers paid": one.paid,
        "replayed in the last run": one.replayed,
        "failed": one.failed,
        "failed further on": one.failed_ahead or None,
        "unusable answers": one.unusable,
        "attempts failed": one.attempts_failed,
        "in flight": one.in_flight,
        "waiting in batches": _waiting(one),
        "lost": one.lost,
        "tokens read": one.prompt_tokens,
        "tokens written": one.completion_tokens,
        "cost in USD at most": one.usd,
    }
    return {name: value for name, value in facts.items() if value is not None}
