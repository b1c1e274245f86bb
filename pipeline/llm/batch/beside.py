"""What the batches at a server mean to a run that asks request by request.

The same requests must not be paid twice, and what batches may take is not there to spend.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from pipeline.llm.amount import NOTHING, Amount
from pipeline.llm.batch.book import open_batches

if TYPE_CHECKING:
    from pipeline.ledger import Ledger


def check_batches(ledger: Ledger, plan: str, cache: str | Path) -> None:
    """Refuse to ask what is in a batch already.

    Args:
        ledger: The open ledger of the cache.
        plan: The key of the plan that is about to be asked.
        cache: The cache, for the error.

    Raises:
        UsageError: If requests of the plan are in a batch.
    """
    with ledger.tables() as connection:
        waiting = [many for one, many in open_batches(connection) if one.plan == plan]
    if any(waiting):
        raise UsageError(
            f"{sum(waiting):,} requests of this plan are in a batch, and would be paid twice",
            where=cache,
            hint="Go on with --backend openai-batch, or cancel it: "
            f"lqtse-cache batches {cache} --cancel",
        )


def held_by_batches(ledger: Ledger) -> Amount:
    """The most that the batches of a cache can take."""
    with ledger.tables() as connection:
        return sum((one.worst for one, _ in open_batches(connection)), NOTHING)
