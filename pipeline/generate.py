"""Captions from a language model into a cache.

The plan says what to ask; `llm.dispatch` brings the answers, in plan order; `harvest` judges them
in that order. So which captions a cache holds follows from the plan and the answers alone, never
from which answer came first, how many were in flight, or how often the run was stopped.

Where a plan stands is in the manifest, so a cache that grows pays only for what is new. A cache may
hold several plans (other seeds, models or concepts), each continued by its own command; since a
second plan that was started by mistake costs money, it has to be asked for (`append`). When a run
fails, what was accepted is published, what was answered is in the ledger, and the same command goes
on from there.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cache_store.errors import LqtseError, UsageError, UsedUpError
from pipeline.basket import SHARD_ROWS
from pipeline.harvest import Harvest
from pipeline.ledger import Ledger, open_ledger
from pipeline.llm.base import Backend, Model
from pipeline.llm.batch.beside import check_batches, held_by_batches
from pipeline.llm.dialect import Learner, dialects_of
from pipeline.llm.dispatch import Dispatcher
from pipeline.llm.limits import Limiter
from pipeline.llm.prices import Bound, Budget, Price
from pipeline.llm.retry import Retrier
from pipeline.llm.source import Answered, AnswerSource, Job, OpenSource
from pipeline.panel import Progress
from pipeline.standing import other_plan, plan_key, plans_of
from pipeline.stopping import stopping

if TYPE_CHECKING:
    from cache_store.manifest import Manifest
    from cache_store.writer import CacheWriter
    from prompts.plan import Plan

Outcome = Literal["done", "already there", "stopped", "budget spent", "waiting"]

# A plan has come to its end when this many requests in a row brought too little; and a model that
# brought nothing at all is given up sooner.
LOOK_BACK = 200
FIRST_LOOK = 50
REQUESTS_PER_CAPTION = 20.0

_FIRST_YIELD = 0.75  # captions kept per caption asked for, before anything is known


@dataclass(frozen=True)
class Limits:
    """How much a run may ask for.

    Attributes:
        concurrency: Requests in flight at most.
        requests_per_caption: The run ends when, over the last 200 requests, it took more than this
            many for a caption that could be kept, or when the first 50 gave none.
        rpm: Requests a minute, None for no limit.
        tpm: Tokens a minute, read and written, None for no limit.
        price: What the model costs, None if that is not known.
        max_usd: What the whole cache may cost, earlier runs included; needs a price.
        max_tokens: Tokens, read and written, that the whole cache may take, earlier runs included.
        shard_rows: Captions a file, at most.

    Raises:
        UsageError: If `max_usd` is given without a price.
    """

    concurrency: int = 8
    requests_per_caption: float = REQUESTS_PER_CAPTION
    rpm: int | None = None
    tpm: int | None = None
    price: Price | None = None
    max_usd: float | None = None
    max_tokens: int | None = None
    shard_rows: int = SHARD_ROWS

    def __post_init__(self) -> None:
        if self.max_usd is not None and self.price is None:
            raise UsageError(
                "a budget needs prices", hint="Give --prices FILE.json with the model's prices"
            )

    def budget(self, ledger: Ledger) -> Budget:
        """What may be spent, after what the ledger says was spent before."""
        return Budget(self.price, self.max_usd, self.max_tokens, ledger.totals().spent)


@dataclass
class Report:
    """What a run did.

    Attributes:
        outcome: How it ended; anything else raises.
        kept: Captions kept by this run.
        plan_total: Captions that this plan has in the cache.
        cache_total: Captions in the cache.
        rejected: Captions refused by this run, by reason.
        unanswered: Requests that got no answer after all their attempts, by reason.
        progress: Requests, tokens, cost and time of this run.
        bound: The limit that ended it, if its budget is spent.
    """

    outcome: Outcome
    kept: int
    plan_total: int
    cache_total: int
    rejected: dict[str, int]
    unanswered: dict[str, int]
    progress: Progress = field(repr=False)
    bound: Bound = ""


def generate(
    cache: str | Path,
    plan: Plan,
    backend: Model,
    n: int,
    *,
    limits: Limits | None = None,
    append: bool = False,
    retrier: Retrier | None = None,
    source: OpenSource | None = None,
    progress: Progress | None = None,
    changed: Callable[[], None] = lambda: None,
    notes: Mapping[str, Any] | None = None,
) -> Report:
    """Let `backend` write captions until `plan` has `n` of them in the cache.

    Ctrl-C (or SIGTERM) stops it: nothing more is sent, what is in flight gets a moment to arrive,
    and what was accepted is published; a second one stops at once.

    A request that gets no answer, after all its attempts, is recorded, listed among the rejects and
    left for `retry`; the plan goes on. What would meet every request ends the run, and so does a
    streak of failures (`Dispatcher`).

    Args:
        cache: The cache's folder, made if it is not there.
        plan: What is asked, in which order; its model is the backend's.
        backend: Who answers, a `Backend` unless `source` is given; closed at the end.
        n: Captions that the plan shall have in the end, earlier runs included.
        limits: How much may be asked for.
        append: Begin this plan although the cache has another.
        retrier: How failed attempts are made again.
        source: Who brings the answers; None asks `backend` request by request.
        progress: Kept up to date, for whoever shows it.
        changed: Called whenever `progress` changed.
        notes: What else the provenance shall tell, such as where the concepts come from.

    Raises:
        ChangedPlanError: If the cache has another plan, and `append` is not given.
        UsedUpError: If too few answers can be used.
        RemoteError: What the backend says for good.
        StorageError: If the disk is full or the folder cannot be written.
        LeaseHeldError: If another process writes to the cache.
    """
    from cache_store.writer import open_writer

    limits = limits or Limits()
    progress = progress or Progress()
    with open_writer(cache) as writer:
        _check_plan(writer.manifest, plan, cache, append)
        recall(backend, writer.manifest, plan.model)
        with open_ledger(writer.path, plan_key(plan)) as ledger:
            if source is None:
                check_batches(ledger, plan_key(plan), cache)
                source = asking(backend, retrier, limits)
            run = _Run(
                writer, ledger, plan, backend, n, limits, source, progress, changed, notes or {}
            )
            try:
                return asyncio.run(run.go())
            except asyncio.CancelledError:  # the second Ctrl-C
                raise KeyboardInterrupt from None


def recall(backend: Model, manifest: Manifest | None, model: str) -> None:
    """Tell a backend what earlier runs found out about its servers."""
    if isinstance(backend, Learner) and manifest is not None:
        backend.recall(dialects_of(manifest.provenance, model))


def asking(backend: Model, retrier: Retrier | None, limits: Limits) -> OpenSource:
    """Ask `backend` request by request."""
    if not isinstance(backend, Backend):
        raise TypeError(f"{backend.name} answers no single requests: give its source")

    def open_source(job: Job) -> AnswerSource:
        job.budget.hold(held_by_batches(job.ledger))
        return Dispatcher(
            job.request,
            backend,
            job.ledger,
            retrier=retrier or Retrier(limiter=Limiter(limits.rpm, limits.tpm)),
            budget=job.budget,
            concurrency=limits.concurrency,
            length=job.length,
        )

    return open_source


def _check_plan(manifest: Manifest | None, plan: Plan, cache: str | Path, append: bool) -> None:
    plans = plans_of(manifest)
    if append or not plans or plan_key(plan) in plans:
        return
    raise other_plan(
        plan,
        plans,
        cache,
        "Use the same settings to go on, --append to add captions with the new ones, "
        "or another cache",
    )


def counts_of(progress: Progress) -> dict[str, Any]:
    """Requests, tokens, cost and seconds of a run, for the provenance."""
    traffic = progress.traffic
    counts: dict[str, Any] = {
        "requests": traffic.asked,
        "replayed": traffic.replayed,
        "attempts_failed": traffic.retries,
        "unanswered": traffic.failed,
        "prompt_tokens": traffic.prompt_tokens,
        "completion_tokens": traffic.completion_tokens,
        "seconds": round(progress.seconds, 1),
    }
    if progress.priced:
        counts["usd"] = round(traffic.usd, 6)
    return counts


class _Run:
    """One run of `generate`."""

    def __init__(
        self,
        writer: CacheWriter,
        ledger: Ledger,
        plan: Plan,
        backend: Model,
        n: int,
        limits: Limits,
        source: OpenSource,
        progress: Progress,
        changed: Callable[[], None],
        notes: Mapping[str, Any],
    ) -> None:
        self._writer = writer
        self._backend = backend
        self._n = n
        self._limits = limits
        self._progress = progress
        self._changed = changed
        self._count = plan.count
        self._harvest = Harvest(
            writer,
            ledger,
            plan,
            lambda: {**backend.describe(), **notes},
            shard_rows=limits.shard_rows,
        )
        self._recent: deque[int] = deque(maxlen=LOOK_BACK)
        self._judged = 0
        self._budget = limits.budget(ledger)
        self._source = source(
            Job(plan.request, ledger, self._budget, plan_key(plan), changed=changed)
        )
        progress.wanted, progress.before = n, self._harvest.standing.kept
        progress.traffic = self._source.traffic
        progress.rejected = self._harvest.rejected
        progress.priced = limits.price is not None

    async def go(self) -> Report:
        """Run to the end."""
        if self._missing > 0:
            self._harvest.prepare()
        self._progress.begin()
        try:
            if self._missing <= 0:
                return self._report("already there")
            with stopping(self._stop):
                return await self._gather()
        finally:
            await self._backend.aclose()

    async def _gather(self) -> Report:
        first = self._harvest.standing.request
        try:
            async with aclosing(self._source.stream(first, self._ahead)) as answers:
                async for result in answers:
                    kept = self._harvest.take(result, self._n)
                    if isinstance(result, Answered):  # else it says nothing of the model
                        self._recent.append(kept)
                        self._judged += 1
                    self._progress.kept = self._harvest.kept
                    self._changed()
                    if self._missing == 0:
                        break
                    self._check_yield()
                    if self._harvest.full:
                        self._publish()
        except LqtseError:
            self._publish()
            raise
        self._publish()
        if self._missing == 0:
            return self._report("done")
        ends: dict[str, Outcome] = {"budget": "budget spent", "waiting": "waiting"}
        return self._report(ends.get(self._source.end, "stopped"))

    @property
    def _missing(self) -> int:
        return self._n - self._harvest.standing.kept

    def _ahead(self) -> int:
        """Requests that what is missing will take, at the yield so far."""
        prior = 4.0  # requests' worth of belief in the first guess
        kept = self._harvest.kept + prior * _FIRST_YIELD * self._count
        per_request = kept / (self._judged + prior)
        return math.ceil(self._missing / max(per_request, 1e-3))

    def _check_yield(self) -> None:
        looked, gave = len(self._recent), sum(self._recent)
        too_few = looked == LOOK_BACK and gave * self._limits.requests_per_caption < LOOK_BACK
        if not too_few and not (looked == FIRST_LOOK and self._harvest.kept == 0):
            return
        reasons = self._harvest.rejected.most_common(3)
        raise UsedUpError(
            f"too few answers can be used: the last {looked} requests gave {gave} captions",
            where=self._writer.path,
            expected=f"at least {math.ceil(looked / self._limits.requests_per_caption)}",
            found=", ".join(f"{count} times {name}" for name, count in reasons),
            hint=f"{self._harvest.standing.kept:,} captions are kept; "
            "more concepts (--concepts) or a better model give more",
        )

    def _publish(self) -> None:
        self._harvest.publish({"wanted": self._n, **counts_of(self._progress)})

    def _stop(self) -> None:
        self._progress.stopping = True
        self._source.stop()

    def _report(self, outcome: Outcome) -> Report:
        current = self._writer.current
        imported = sum(entry.rows for entry in current.data if not entry.source)
        return Report(
            outcome=outcome,
            kept=self._harvest.kept,
            plan_total=self._harvest.standing.kept,
            cache_total=sum(entry.rows for entry in current.captions) + imported,
            rejected=dict(self._harvest.rejected.most_common()),
            unanswered=dict(self._harvest.unanswered.most_common()),
            progress=self._progress,
            bound=self._budget.bound if outcome == "budget spent" else "",
        )
