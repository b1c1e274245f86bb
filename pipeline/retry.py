"""Ask again what a plan got no answer to, and nothing else.

The ledger knows the places (`failures`); the plan, made again from the same settings, gives their
requests; ids must agree, or nothing is sent. New answers stand in the ledger beside the old ones,
and their captions are judged in plan order after all that is kept already. What was published
stays. A round ends with one step in the provenance; killed at any moment, the same command goes on,
and what was answered in between is not asked again.

The settings of `grow` make a plan for each of its rounds, which are asked again one after another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cache_store.errors import DamagedError, EmptyInputError, LqtseError
from pipeline.failures import Place, is_unanswered
from pipeline.generate import Limits, asking, counts_of, recall
from pipeline.harvest import Gleaning
from pipeline.ledger import FILE_NAME, Ledger, open_ledger
from pipeline.llm.prices import Bound
from pipeline.llm.source import Answered, AnswerSource, Job, OpenSource, Traffic
from pipeline.panel import Progress as Counts
from pipeline.progress import Progress, Tick, quiet
from pipeline.standing import other_plan, plan_key, plans_of
from pipeline.stopping import stopping

if TYPE_CHECKING:
    from cache_store.writer import CacheWriter
    from pipeline.llm.base import Model
    from pipeline.llm.retry import Retrier
    from prompts.plan import Plan
    from prompts.request import Request

Outcome = Literal["done", "nothing to do", "stopped", "budget spent", "waiting"]


@dataclass(frozen=True)
class RetryReport:
    """What a retry did.

    Attributes:
        outcome: How it ended; anything else raises.
        failures: Requests that it set out to ask again.
        answered: Those that have an answer now.
        kept: Captions kept of these answers.
        rejected: Captions refused of them, by reason.
        left: What still counts as failed in this plan, by reason.
        plan_total: Captions that this plan has in the cache.
        traffic: Requests, tokens and cost.
        priced: Whether the cost is known.
        seconds: How long it took.
        bound: The limit that ended it, if its budget is spent.
    """

    outcome: Outcome
    failures: int
    answered: int
    kept: int
    rejected: dict[str, int]
    left: dict[str, int]
    plan_total: int
    traffic: Traffic
    priced: bool
    seconds: float
    bound: Bound = ""

    def __add__(self, later: RetryReport) -> RetryReport:
        """Two runs as one; how the later one ended counts, unless it had nothing to do."""
        last = self if later.outcome == "nothing to do" else later
        return RetryReport(
            outcome=last.outcome,
            failures=self.failures + later.failures,
            answered=self.answered + later.answered,
            kept=self.kept + later.kept,
            rejected=_summed(self.rejected, later.rejected),
            left=_summed(self.left, later.left),
            plan_total=self.plan_total + later.plan_total,
            traffic=_traffic(self.traffic, later.traffic),
            priced=last.priced,
            seconds=self.seconds + later.seconds,
            bound=last.bound,
        )


def plans_to_retry(cache: str | Path, plan: Plan) -> list[Plan]:
    """The plans that a cache has by the settings of `plan`.

    That of `generate` first, then those of the rounds of `grow`, oldest first; [] if there is none.

    Raises:
        DataError: If there is no cache, or its manifest is damaged.
    """
    from cache_store.layout import check_folder
    from cache_store.manifest import newest_manifest
    from pipeline.grow.plans import plans_of_rounds

    check_folder(Path(cache), create=False)
    manifest = newest_manifest(Path(cache))
    if manifest is None:
        return []
    there = plans_of(manifest)
    made = [plan, *plans_of_rounds(manifest.provenance, plan)]
    return [one for one in made if plan_key(one) in there]


def retry(
    cache: str | Path,
    plan: Plan,
    backend: Model,
    *,
    refused: bool = False,
    limits: Limits | None = None,
    retrier: Retrier | None = None,
    source: OpenSource | None = None,
    progress: Progress = quiet,
    notes: Mapping[str, Any] | None = None,
) -> RetryReport:
    """Ask again where `plan` failed.

    Args:
        cache: The cache's folder.
        plan: The plan, with the settings that the cache was generated with.
        backend: Who answers, a `Backend` unless `source` is given; closed at the end.
        refused: Ask again, too, where the answer was refused, cut or garbage.
        limits: How much may be asked for.
        retrier: How failed attempts are made again.
        source: Who brings the answers; None asks `backend` request by request.
        progress: How to show it.
        notes: What else the provenance shall tell, as for `generate`.

    Raises:
        ChangedPlanError: If the cache has no such plan.
        EmptyInputError: If the cache has no plan at all, or no ledger.
        DamagedError: If the ledger names other requests than the plan makes.
        RemoteError: If nothing could be answered, or for what would meet every request.
        LeaseHeldError: If another process writes to the cache.
    """
    from cache_store.writer import open_writer

    limits = limits or Limits()
    source = source or asking(backend, retrier, limits)
    with open_writer(cache, create=False) as writer:
        _check(writer, plan, cache)
        recall(backend, writer.manifest, plan.model)
        with open_ledger(writer.path, plan_key(plan)) as ledger:
            run = _Retry(writer, ledger, plan, backend, refused, limits, source, notes or {})
            try:
                return asyncio.run(run.go(progress))
            except asyncio.CancelledError:  # the second Ctrl-C
                raise KeyboardInterrupt from None


def _check(writer: CacheWriter, plan: Plan, cache: str | Path) -> None:
    plans = plans_of(writer.manifest)
    if not plans or not (writer.path / FILE_NAME).exists():
        raise EmptyInputError(
            "there is nothing to ask again",
            where=cache,
            found="no ledger" if plans else "no captions of a language model",
            hint=f"Run `lqtse-cache generate {cache} -n 300`",
        )
    if plan_key(plan) not in plans:
        hint = f"Give retry the options of the run; `lqtse-cache status {cache}` shows the plans"
        raise other_plan(plan, plans, cache, hint)


class _Retry:
    """One run of `retry`."""

    def __init__(
        self,
        writer: CacheWriter,
        ledger: Ledger,
        plan: Plan,
        backend: Model,
        refused: bool,
        limits: Limits,
        source: OpenSource,
        notes: Mapping[str, Any],
    ) -> None:
        self._ledger = ledger
        self._plan = plan
        self._backend = backend
        self._harvest = Gleaning(
            writer,
            ledger,
            plan,
            lambda: {**backend.describe(), **notes},
            shard_rows=limits.shard_rows,
        )
        failed = ledger.failures.published(self._harvest.standing)
        self._places = [one for one in failed if refused or is_unanswered(one.reason)]
        self._budget = limits.budget(ledger)
        self._source: AnswerSource = source(
            Job(
                self._request,
                ledger.asking_again({one.request_id: one.take for one in self._places}),
                self._budget,
                plan_key(plan),
                len(self._places),
            )
        )
        self._counts = Counts(traffic=self._source.traffic, priced=limits.price is not None)
        self._answered = 0

    async def go(self, progress: Progress) -> RetryReport:
        """Run to the end."""
        self._counts.begin()
        try:
            if not self._places:
                return self._report("nothing to do")
            with stopping(self._source.stop), progress(len(self._places)) as tick:
                await self._source.prepare(0)
                await self._gather(tick)
        finally:
            await self._backend.aclose()
        ends: dict[str, Outcome] = {
            "": "done",
            "stopped": "stopped",
            "budget": "budget spent",
            "waiting": "waiting",
        }
        return self._report(ends[self._source.end])

    async def _gather(self, tick: Tick) -> None:
        try:
            async with aclosing(self._source.stream(0, lambda: len(self._places))) as results:
                async for result in results:
                    self._harvest.glean(result)
                    self._answered += isinstance(result, Answered)
                    tick(1)
                    if self._harvest.full:
                        self._publish()
        except LqtseError:
            self._publish()
            raise
        self._publish()

    def _request(self, place: int) -> Request:
        known = self._places[place]
        request = self._plan.request(known.position)
        if request.id != known.request_id:
            raise DamagedError(
                "the ledger names another request than the plan makes",
                where=self._ledger.path,
                expected=f"{request.id} at position {known.position}",
                found=known.request_id,
                hint="Nothing was sent: use the version of lqtse that generated the cache",
            )
        return request

    def _publish(self) -> None:
        self._harvest.publish(counts_of(self._counts))

    def _report(self, outcome: Outcome) -> RetryReport:
        return RetryReport(
            outcome=outcome,
            failures=len(self._places),
            answered=self._answered,
            kept=self._harvest.kept,
            rejected=dict(self._harvest.rejected.most_common()),
            left=_by_reason(self._ledger.failures.published(self._harvest.standing)),
            plan_total=self._harvest.standing.kept,
            traffic=self._source.traffic,
            priced=self._counts.priced,
            seconds=self._counts.seconds,
            bound=self._budget.bound if outcome == "budget spent" else "",
        )


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return dict((Counter(one) + Counter(other)).most_common())


def _traffic(one: Traffic, later: Traffic) -> Traffic:
    """Both together; what is in flight and waited for is the later one's."""
    summed = ("asked", "replayed", "retries", "failed", "prompt_tokens", "completion_tokens")
    added = {name: getattr(one, name) + getattr(later, name) for name in summed}
    return replace(later, usd=one.usd + later.usd, **added)


def _by_reason(places: Sequence[Place]) -> dict[str, int]:
    return dict(Counter(place.reason for place in places).most_common())
