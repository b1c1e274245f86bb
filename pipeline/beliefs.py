"""What is believed of a model before a run, and where each belief comes from.

Four things: the share of captions kept, the tokens of an answer, the tokens of a request, and how
fast answers come. For each, what the user states comes first, then what this cache has seen, then
what we measured or assume; the source is told in words beside the figure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.evidence import Evidence
from pipeline.experience import Experience
from pipeline.planning import Pace, Range, Storage
from pipeline.priors import Prior, assumed_latency

if TYPE_CHECKING:
    from pipeline.llm.identity import Identity
    from pipeline.llm.prices import Price
    from pipeline.tokens.count import TokenCounter


@dataclass(frozen=True)
class Stated:
    """What the user knows better.

    Attributes:
        share: Captions kept, as a share of those asked for.
        written: Tokens of one answer.
        seconds: Seconds one answer takes.
        concurrency: Requests in flight.
        requests_per_minute: A server's limit.
        tokens_per_minute: A server's limit.
        price: USD a million tokens.
        max_usd: What the cache may cost in all.
        max_tokens: Tokens, read and written, that the cache may take in all.
        storage: Embedding size and type; those of the cache, if it is embedded, win.
    """

    share: float | None = None
    written: float | None = None
    seconds: float | None = None
    concurrency: int = 1
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    price: Price | None = None
    max_usd: float | None = None
    max_tokens: int | None = None
    storage: Storage = field(default_factory=lambda: Storage(512, 2))


def share(stated: Stated, past: Experience | None, guess: Prior, count: int) -> tuple[Range, str]:
    """Captions kept, as a share of those asked for, and where that comes from."""
    if stated.share is not None:
        return Range.exactly(stated.share), "as stated"
    if past is not None:
        whose = "this plan" if past.own else "other plans of this model and wording"
        return (
            past.kept_each() * (1 / count),
            f"{past.kept:,} captions of {past.requests:,} requests of {whose} in this cache",
        )
    return guess.share, guess.source


def written(
    stated: Stated, past: Experience | None, guess: Prior, heard: Evidence, usual: float
) -> tuple[Range, str]:
    """Tokens of one answer, and where that comes from."""
    if stated.written is not None:
        return Range.exactly(stated.written), "as stated"
    if heard.answers:
        return heard.length * usual, f"{heard.answers:,} answers of this plan in the ledger"
    if past is not None and (each := past.written_each()) is not None:
        return each, f"{past.answers:,} answers of this model and wording in this cache"
    return guess.length * usual, guess.source


def read(mean: float, sampling: float, counter: TokenCounter, heard: Evidence) -> Range:
    """Tokens that one request makes the model read."""
    chance = Range.within(1.0, 1.96 * sampling)
    counted = heard.correction if heard.answers else Range.within(1.0, counter.error)
    return (chance.by(counted)) * mean


def pace(
    stated: Stated, past: Experience | None, guess: Prior, identity: Identity, each: Range
) -> tuple[Pace, str]:
    """How fast answers come, and where that comes from.

    Args:
        stated: What the user knows better.
        past: What runs in this cache have shown.
        guess: What is expected of the model.
        identity: Who answers.
        each: Tokens of one answer.
    """
    rate, source = None, ""
    if stated.seconds is not None:
        rate = Range.exactly(stated.concurrency / stated.seconds)
        source = f"as stated, with {stated.concurrency:,} requests in flight"
    elif past is not None and (rate := past.pace()) is not None:
        source = f"the last run here: {rate.expected:.3g} answers a second"
    elif guess.each_core is not None and identity.backend == "local":
        rate = guess.each_core * stated.concurrency
        source = f"measured by us on one core, for {stated.concurrency:,}"
    elif identity.backend == "openai":
        latency = assumed_latency(each)
        rate = latency.per(stated.concurrency)
        source = (
            f"assumed: {latency.expected:.2g} s an answer ({latency.low:.2g} to "
            f"{latency.high:.2g}), {stated.concurrency:,} in flight"
        )
    return Pace(stated.requests_per_minute, stated.tokens_per_minute, rate), source
