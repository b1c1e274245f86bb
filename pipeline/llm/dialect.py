"""What an OpenAI-compatible server takes, learnt from what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Dialect:
    """What this server takes, as far as it is known.

    Attributes:
        known: Whether a request has succeeded, so that nothing is left to find out.
        dropped: Parameters that it refuses.
        limit: What it calls the limit on an answer's tokens.
    """

    known: bool = False
    dropped: set[str] = field(default_factory=set)
    limit: str = "max_tokens"

    def adapt(self, refused: str | None, sent: dict[str, Any]) -> bool:
        """Learn from a refusal; False if there is nothing left to try.

        Args:
            refused: The parameter that the server named, None if it named none.
            sent: The parameters of the refused request.
        """
        if refused == "max_tokens" and self.limit == "max_tokens":
            self.limit = "max_completion_tokens"
            return True
        name = (refused or "response_format").split(".")[0]
        optional = {"response_format", "seed", "temperature", "top_p", "stop"}
        if name in optional and name in sent:
            self.dropped.add(name)
            return True
        return False
