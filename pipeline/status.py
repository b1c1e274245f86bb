"""What was paid, what failed and what is pending, plan by plan; reads only, beside any writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.failures import NO_ANSWER, is_unanswered
from pipeline.ledger_counts import Counts, LedgerReader, read_ledger
from pipeline.llm.batch.book import RETRY, Entry
from pipeline.standing import STEP, plans_of, standing_of


@dataclass(frozen=True)
class PlanStatus:
    """How one plan stands.

    Attributes:
        plan: Its key; "" for answers whose plan was not noted.
        model: The model asked.
        seed: The plan's seed, None while nothing of it is published.
        template: The prompt's template.
        captions: Captions kept.
        wanted: Captions that the last run of `generate` was asked for, None if not known.
        pending: Those of them that are not there yet, None if not known.
        next_request: Position of the first request that is not used up.
        paid: Answers in the ledger.
        replayed: Answers that the last run took from the ledger.
        failed: Requests without an answer, by reason.
        failed_ahead: Those beyond where the plan stands; they are listed when it gets there.
        unusable: Answers that are not what was asked (refusals, cut, filtered, garbage), by reason.
        attempts_failed: Attempts that failed, whether the request was answered later or not.
        in_flight: Attempts under way, if a process is at work.
        in_batches: Requests that wait in batches, at a server or about to be submitted; nobody
            needs to be at work for them.
        batches: How many batches those are.
        lost: Attempts that were in flight when a process died.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        usd: What it cost at most, None if no price is known.
    """

    plan: str
    model: str = ""
    seed: int | None = None
    template: str = ""
    captions: int = 0
    wanted: int | None = None
    pending: int | None = None
    next_request: int = 0
    paid: int = 0
    replayed: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    failed_ahead: int = 0
    unusable: Mapping[str, int] = field(default_factory=dict)
    attempts_failed: int = 0
    in_flight: int = 0
    in_batches: int = 0
    batches: int = 0
    lost: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None


@dataclass(frozen=True)
class Status:
    """How a cache stands.

    Attributes:
        plans: Each plan, the oldest first.
        ledger: Whether there is a ledger.
        writer: Who writes to the cache now ("process 123 on host"), "" for nobody.
    """

    plans: tuple[PlanStatus, ...]
    ledger: bool
    writer: str


def status(cache: str | Path) -> Status:
    """Say how each plan of a cache stands.

    Raises:
        DataError: If there is no such cache, or its manifest or ledger is damaged.
        UsageError: If the folder holds something else.
    """
    from cache_store.layout import check_folder
    from cache_store.lease import live_holder
    from cache_store.manifest import newest_manifest

    folder = Path(cache)
    check_folder(folder, create=False)
    holder = live_holder(folder)
    # The manifest first: what it names is in the ledger, whatever is written between.
    steps = plans_of(manifest := newest_manifest(folder))
    asked = {
        step["plan"]: step
        for step in (manifest.provenance if manifest is not None else ())
        if step.get("step") == STEP
    }
    with read_ledger(folder) as ledger:
        counts = ledger.counts() if ledger is not None else {}
        if "" in counts and len(steps) == 1:  # a ledger of before plans were noted
            counts.setdefault(next(iter(steps)), Counts()).add(counts.pop(""))
        waiting = _waiting(ledger)
        plans = []
        for key in dict.fromkeys((*steps, *counts, *waiting)):
            there = waiting.get(key, [])
            step: dict[str, Any] = {**steps.get(key, {})}
            step["wanted"] = asked.get(key, {}).get("wanted")
            if there:
                step.setdefault("model", there[0][0].model)
            one = counts.get(key, Counts())
            failures = _failures(ledger, key, manifest, one)
            found = _plan(key, step, one, failures, alive=holder is not None)
            requests = sum(many for _, many in there)
            plans.append(replace(found, in_batches=requests, batches=len(there)))
    writer = f"process {holder.pid} on {holder.host}" if holder is not None else ""
    return Status(tuple(plans), ledger is not None, writer)


def _waiting(ledger: LedgerReader | None) -> dict[str, list[tuple[Entry, int]]]:
    """The batches that requests wait in, and how many each holds, by the plan's key."""
    found: dict[str, list[tuple[Entry, int]]] = {}
    for entry, requests in ledger.batches() if ledger is not None else ():
        # What is collected has its answers in the ledger; only files are left of it.
        if entry.state in ("planned", "submitted"):
            found.setdefault(entry.plan.removesuffix(RETRY), []).append((entry, requests))
    return found


def _failures(
    ledger: LedgerReader | None, key: str, manifest: Any, counts: Counts
) -> tuple[Counter[str], Counter[str], int]:
    failed: Counter[str] = Counter()
    unusable: Counter[str] = Counter()
    waiting = dict(counts.given_up)
    for place in ledger.places(key, standing_of(manifest, key)) if ledger is not None else ():
        if is_unanswered(place.reason):
            # Its last attempt may have failed for another reason than the first time.
            now = waiting.pop(place.request_id, None)
            failed[f"{NO_ANSWER}: {now}" if now else place.reason] += 1
        else:
            unusable[place.reason] += 1
    return failed, unusable, len(waiting)


def _plan(
    key: str,
    step: Mapping[str, Any],
    counts: Counts,
    failures: tuple[Counter[str], Counter[str], int],
    *,
    alive: bool,
) -> PlanStatus:
    failed, unusable, ahead = failures
    captions, wanted = step.get("kept", 0), step.get("wanted")
    usd = counts.usd
    if counts.open_usd and not alive:  # what was in flight at a death counts as spent
        usd = (usd or 0.0) + counts.open_usd
    return PlanStatus(
        plan=key,
        model=step.get("model", ""),
        seed=step.get("seed"),
        template=step.get("config", {}).get("template", ""),
        captions=captions,
        wanted=wanted,
        pending=None if wanted is None else max(0, wanted - captions),
        next_request=step.get("next_request", 0),
        paid=counts.answers,
        replayed=step.get("replayed", 0),
        failed=dict(failed.most_common()),
        failed_ahead=ahead,
        unusable=dict(unusable.most_common()),
        attempts_failed=counts.attempts_failed,
        in_flight=counts.open if alive else 0,
        lost=counts.lost + (0 if alive else counts.open),
        prompt_tokens=counts.prompt_tokens,
        completion_tokens=counts.completion_tokens,
        usd=None if usd is None else round(usd, 6),
    )
