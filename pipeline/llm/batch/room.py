"""How many batches may be at the server at a time, and how large they may be.

The first batch of a plan goes alone. Accounts have a limit for the tokens in all their batches,
which is learnt from what is refused: a batch that was sent beside others says how many have room at
a time, one that was alone says that it was too large.
"""

from __future__ import annotations

from cache_store.errors import RateLimitError
from pipeline.llm.batch.model import BatchOptions

FEWEST = 50  # requests: an account without room even for so few is left alone


class Room:
    """What there is room for.

    Args:
        options: What the user allows.

    Attributes:
        requests: Requests in a batch, at most.
    """

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        self._beside = options.batches
        self._known = False
        self.requests = options.requests

    @property
    def batches(self) -> int:
        """Batches at a time."""
        return min(self._options.batches, self._beside) if self._known else 1

    def open_up(self) -> None:
        """The model has answered: let several batches go at a time."""
        self._known = True

    def refused(self, size: int, beside: int, address: str) -> RateLimitError | None:
        """Learn from a batch that the account had no room for.

        Args:
            size: Requests in it.
            beside: Batches that were at the server before it.
            address: The server's, for the error.

        Returns:
            What to tell the user if there is no use in going on.
        """
        if beside:
            self._beside = min(self._beside, beside)
            return None
        self.requests = size // 2
        if self.requests < FEWEST:
            return RateLimitError(
                "the account's limit for tokens in batches is reached",
                where=address,
                found=f"no room even for {size:,} requests",
                hint="Run the same command when other batches of the account have ended",
            )
        self._options.note(
            f"the account has no room for {size:,} requests in a batch: "
            f"{self.requests:,} from now on"
        )
        return None
