"""What a worker is told at its start: plain values, so that they can be sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.llm.prices import Budget
from pipeline.llm.servers import Settings
from pipeline.llm.stripes.stripe import Stripe
from prompts.request import Request


@dataclass(frozen=True)
class Orders:
    """What one worker works on.

    Attributes:
        request: The request at a position of the plan.
        stripe: Its positions.
        first: The number of its first one, in the stripe.
        settings: Of the client; the key comes by the environment.
        ledger: The file, for answers that are there.
        plan: Key of the plan.
        budget: Its share of what may be spent.
        concurrency: Its requests in flight, at most.
        rpm: Its share of the requests a minute, None for no limit.
        tpm: Its share of the tokens a minute, None for no limit.
    """

    request: Callable[[int], Request]
    stripe: Stripe
    first: int
    settings: Settings
    ledger: Path
    plan: str
    budget: Budget
    concurrency: int
    rpm: int | None
    tpm: int | None
