"""The asking of one round: its plan, and the run of `generate` that works it off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cache_store.errors import ChangedPlanError, UsedUpError
from pipeline.grow.plans import round_plan
from pipeline.grow.record import Round
from pipeline.panel import Progress as Panel
from pipeline.standing import plan_key, standing_of

if TYPE_CHECKING:
    from pipeline.generate import Limits
    from pipeline.llm.select import Chosen
    from prompts.plan import Plan

Shown = Callable[[Panel], AbstractContextManager[Callable[[], None]]]
Outcome = Literal["done", "used up", "budget spent", "stopped", "waiting"]


def unseen(panel: Panel) -> AbstractContextManager[Callable[[], None]]:
    """Show nothing."""
    del panel
    return nullcontext(lambda: None)


@dataclass(frozen=True)
class Asker:
    """Who is asked, and how.

    Attributes:
        plan: Its bank holds all concepts that may be asked for; its seed is the growth's.
        open: Makes the backend, anew for each round, since a run closes its own.
        limits: How much may be asked for.
        shown: Shows a round's progress.
        notes: What else the provenance shall tell, as for `generate`.
    """

    plan: Plan
    open: Callable[[], Chosen]
    limits: Limits
    shown: Shown = unseen
    notes: Mapping[str, Any] = field(default_factory=dict)


def ask_round(
    cache: Path, asker: Asker, record: Round, note: Callable[[str], None]
) -> tuple[Outcome, int]:
    """Have the captions of a round written, or what is missing of them.

    Args:
        cache: The cache's folder.
        asker: Who is asked.
        record: The round.
        note: Told what is going on.

    Returns:
        How it ended, and how many captions the round has.

    Raises:
        ChangedPlanError: If the prompts changed since the round began.
        UsedUpError: If not one answer can be used.
    """
    from cache_store.manifest import newest_manifest
    from pipeline.generate import generate

    plan = round_plan(asker.plan, record)
    if plan_key(plan) != record.plan:
        raise ChangedPlanError(
            f"round {record.number} of this growth was begun with other prompts",
            where=cache,
            expected=record.plan,
            found=plan_key(plan),
            hint="Go on with the version of lqtse that began it, or begin another growth: "
            "the same command with another --seed",
        )
    note(f"round {record.number}: {record.captions:,} captions about {_listed(record.concepts)}")
    chosen = asker.open()
    panel = Panel(title=f"round {record.number}, {chosen.backend.name}, {plan.model}")
    try:
        with asker.shown(panel) as changed:
            report = generate(
                cache,
                plan,
                chosen.backend,
                record.captions,
                limits=asker.limits,
                append=True,
                source=chosen.source,
                progress=panel,
                changed=changed,
                notes=asker.notes,
            )
    except UsedUpError as error:
        kept = standing_of(newest_manifest(cache), record.plan).kept
        if kept == 0:
            raise
        note(error.message)
        return "used up", kept
    if report.bound:
        note(
            f"{report.bound} is spent with {report.plan_total:,} of {record.captions:,} captions "
            f"of round {record.number}"
        )
    outcome: Outcome = "done" if report.outcome == "already there" else report.outcome
    return outcome, report.plan_total


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")
