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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.ledger import open_ledger
from pipeline.llm.base import Backend, Model
from pipeline.llm.batch.beside import check_batches, held_by_batches
from pipeline.llm.dialect import Learner, dialects_of
from pipeline.llm.dispatch import Dispatcher
from pipeline.llm.limits import Limiter
from pipeline.llm.retry import Retrier
from pipeline.llm.source import AnswerSource, Job, OpenSource
from pipeline.llm.stripes.model import StripedModel
from pipeline.panel import Progress
from pipeline.run import Limits, Outcome, Report, Run, counts_of
from pipeline.standing import other_plan, plan_key, plans_of

if TYPE_CHECKING:
    from cache_store.manifest import Manifest
    from prompts.plan import Plan

__all__ = ["Limits", "Outcome", "Report", "asking", "counts_of", "generate", "recall"]


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
            run = Run(
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
    """Ask `backend` request by request, by several processes if it has them."""
    if not isinstance(backend, Backend):
        raise TypeError(f"{backend.name} answers no single requests: give its source")

    def open_source(job: Job) -> AnswerSource:
        job.budget.hold(held_by_batches(job.ledger))
        if isinstance(backend, StripedModel) and job.length is None:
            return backend.source(
                job, concurrency=limits.concurrency, rpm=limits.rpm, tpm=limits.tpm
            )
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
