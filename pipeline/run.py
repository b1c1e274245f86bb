"""One run of `generate`: results in plan order, judged one by one, until there are enough.

It ends with exactly what was asked for, or says why not: stopped, a budget spent, answers that take
long, or a model of whose answers too few can be used.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cache_store.errors import LqtseError, UsageError, UsedUpError
from pipeline.basket import SHARD_ROWS
from pipeline.harvest import Harvest
from pipeline.ledger import Ledger
from pipeline.llm.base import Model
from pipeline.llm.prices import Bound, Budget, Price
from pipeline.llm.source import Answered, Job, OpenSource
from pipeline.panel import Progress
from pipeline.standing import plan_key
from pipeline.stopping import stopping

if TYPE_CHECKING:
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
        "seconds": round(progress.seconds, 3),
    }
    if progress.priced:
        counts["usd"] = round(traffic.usd, 6)
    return counts


class Run:
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
        try:
            if self._missing <= 0:
                self._progress.begin()
                return self._report("already there")
            self._harvest.prepare()
            with stopping(self._stop):
                await self._source.prepare(self._harvest.standing.request)
                self._progress.begin()
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
        ends: dict[str, Outcome] = {
            "budget": "budget spent",
            "waiting": "waiting",
            "stopped": "stopped",
        }
        if self._source.end not in ends:
            raise RuntimeError("the answers ended and nobody said why")
        return self._report(ends[self._source.end])

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
