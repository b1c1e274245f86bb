"""Look at what a run would ask, without asking: reads the cache, writes nothing, sends nothing.

It makes the plan's own requests and counts their tokens: all of them for a small plan, an even
sample for a large one, so that it takes a second or two whatever n is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as remember
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import beliefs
from pipeline.beliefs import Stated
from pipeline.evidence import Answers, standard_error, weigh
from pipeline.experience import experience
from pipeline.llm.amount import NOTHING, Amount
from pipeline.planning import Forecast, Knowledge, Range, Storage, Task, forecast
from pipeline.priors import prior, usual_length

if TYPE_CHECKING:
    from cache_store.manifest import Manifest
    from pipeline.llm.base import Answer
    from pipeline.llm.identity import Identity
    from pipeline.llm.prices import Bound
    from pipeline.tokens.count import TokenCounter
    from prompts.plan import Plan
    from prompts.request import Request

COUNTED = 800  # requests whose tokens are counted; of more, so many are sampled
NEAR, FAR = 400, 200  # requests looked for in the ledger: the next ones, and a sample of the rest
AHEAD = 64  # requests looked for in the ledger of a plan that has published nothing
HEARD = 300  # answers of the ledger that are compared with what was foretold


@dataclass(frozen=True)
class Outlook:
    """What a run would take, and what that rests on.

    Attributes:
        there: Captions of this plan in the cache.
        in_cache: Captions in the cache.
        missing: Captions still wanted.
        next_request: Position of the first request that is not used up.
        other_plan: Whether the cache has other plans and not this one: `generate` wants --append.
        forecast: Requests, tokens, cost and time.
        answered: Requests to come that the ledger has answers to.
        share: Captions kept, as a share of those asked for.
        read_each: Tokens that a request makes the model read.
        written_each: Tokens of an answer.
        counted: Requests whose tokens were counted.
        sampling_error: Standard error of `read_each` by sampling, a share; 0 if all were counted.
        corrected: Answers of the ledger that corrected the counts; 0 for none.
        sources: Where the share, the length of answers and the pace come from; "" if not known.
        storage: Bytes that the new captions add, by what they are for.
        affordable: Captions that what is left of `max_usd` and `max_tokens` is enough for; None if
            it is for all.
        bound: The limit that is not enough for all, the tighter one; "" if none.
    """

    there: int
    in_cache: int
    missing: int
    next_request: int
    other_plan: bool
    forecast: Forecast
    answered: int
    share: Range
    read_each: Range
    written_each: Range
    counted: int
    sampling_error: float
    corrected: int
    sources: dict[str, str]
    storage: dict[str, float]
    affordable: int | None
    bound: Bound


def look(
    cache: Path,
    plan: Plan,
    identity: Identity,
    n: int,
    counter: TokenCounter,
    stated: Stated | None = None,
) -> Outlook:
    """Foretell what `generate` would take to bring a plan to `n` captions.

    Args:
        cache: The cache's folder; it need not exist.
        plan: What would be asked.
        identity: Who would answer.
        n: Captions that the plan shall have in the end.
        counter: Counts tokens.
        stated: What the user knows better.

    Raises:
        UsageError: If the folder holds something else than a cache.
        DamagedError: If the cache or its ledger is damaged.
    """
    from cache_store.layout import check_folder
    from cache_store.manifest import newest_manifest
    from pipeline.ledger_counts import read_ledger
    from pipeline.standing import plan_key, plans_of, standing_of

    stated = stated or Stated()
    check_folder(cache, create=True)
    manifest = newest_manifest(cache)
    key, plans = plan_key(plan), plans_of(manifest)
    standing = standing_of(manifest, key)
    missing = max(0, n - standing.kept)
    steps = manifest.provenance if manifest is not None else ()
    past = experience(steps, key, plan.config())
    request = remember(plan.request)

    def count(one: Request) -> int:
        again = 1 if one.is_chat else identity.reads_again(one.count)
        return counter.read(one) * again if identity.counts_tokens else 0

    guess = prior(plan.template, plan.model, chat=identity.style == "chat")
    share, share_source = beliefs.share(stated, past, guess, plan.count)
    first = standing.request
    needed = math.ceil(missing / (share.expected * plan.count))
    with read_ledger(cache) as ledger:
        answers: Answers = ledger.answers if ledger is not None else _no_answers
        # A run that died may have answers beyond the place that it published.
        some = [request(one) for one in even(0, first or AHEAD, HEARD)]
        heard = weigh(some, count, usual_length, answers)
        spent = ledger.spent() if ledger is not None else NOTHING
        answered = _answered(
            first, needed, lambda places: len(answers([request(one).id for one in places]))
        )
    sample = [request(one) for one in even(first, needed, COUNTED)]
    counts = [count(one) for one in sample]
    read = statistics.fmean(counts) if counts else 0.0
    usual = statistics.fmean(map(usual_length, sample)) if sample else 0.0
    error = standard_error(counts, needed) if counts else 0.0
    read_each = beliefs.read(read, error, counter, heard)
    written, written_source = beliefs.written(stated, past, guess, heard, usual)
    pace, pace_source = beliefs.pace(stated, past, guess, identity, written)
    foretold = forecast(
        Task(missing, plan.count, answered, stated.concurrency),
        Knowledge(share * plan.count, read_each, written),
        price=stated.price,
        pace=pace,
    )
    affordable, bound = _affordable(missing, foretold, stated, spent)
    return Outlook(
        there=standing.kept,
        in_cache=_captions(manifest),
        missing=missing,
        next_request=first,
        other_plan=bool(plans) and key not in plans,
        forecast=foretold,
        answered=round(answered),
        share=share,
        read_each=read_each,
        written_each=written,
        counted=len(counts),
        sampling_error=error,
        corrected=heard.answers,
        sources={"share": share_source, "written": written_source, "pace": pace_source},
        storage=_storage(manifest, stated.storage).bytes(
            missing,
            max(0.0, foretold.requests.expected * plan.count - missing),
            foretold.sent.expected,
            foretold.written.expected,
        ),
        affordable=affordable,
        bound=bound,
    )


def even(first: int, count: int, most: int) -> list[int]:
    """At most `most` of the `count` positions from `first` on, evenly spread."""
    if count <= most:
        return list(range(first, first + count))
    return [first + (2 * place + 1) * count // (2 * most) for place in range(most)]


def _answered(first: int, needed: int, known: Callable[[Sequence[int]], int]) -> float:
    """Of the next `needed` requests, how many the ledger has: near ones counted, others sampled.

    Args:
        first: The position of the next request.
        needed: How many are wanted.
        known: Of some positions, how many the ledger has answers to.
    """
    near = min(needed, NEAR)
    found = known(range(first, first + near))
    rest = even(first + near, needed - near, FAR)
    if not rest:
        return found
    return found + known(rest) * (needed - near) / len(rest)


def _affordable(
    missing: int, foretold: Forecast, stated: Stated, spent: Amount
) -> tuple[int | None, Bound]:
    """Captions that the limits are enough for, None if for all, as expected; the tighter limit."""
    found: list[tuple[int, Bound]] = []
    if foretold.usd is not None and stated.max_usd is not None:
        found += _enough(missing, foretold.usd.expected, stated.max_usd - spent.usd, "--max-usd")
    if stated.max_tokens is not None:
        tokens = foretold.read.expected + foretold.written.expected
        found += _enough(missing, tokens, stated.max_tokens - spent.tokens, "--max-tokens")
    return min(found, default=(None, ""))


def _enough(missing: int, needed: float, left: float, bound: Bound) -> list[tuple[int, Bound]]:
    """Captions that what is left of one limit is enough for; [] if it is for all."""
    left = max(0.0, left)
    return [] if needed <= left else [(int(missing * left / needed), bound)]


def _no_answers(_: Sequence[str]) -> dict[str, Answer]:
    return {}


def _captions(manifest: Manifest | None) -> int:
    return sum(entry.rows for entry in manifest.texts) if manifest is not None else 0


def _storage(manifest: Manifest | None, given: Storage) -> Storage:
    if manifest is None or manifest.space is None:
        return given
    return Storage(manifest.space.dim, 2 if manifest.dtype == "float16" else 4)
