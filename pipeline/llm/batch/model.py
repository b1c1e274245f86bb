"""The backend openai-batch: a model behind a Batch API, and how batches are to be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cache_store import console
from cache_store.errors import ConfigError
from pipeline.llm.base import PromptStyle
from pipeline.llm.batch.remote import BatchServer
from pipeline.llm.batch.rounds import MOST_REQUESTS
from pipeline.llm.dialect import Dialect
from pipeline.llm.source import AnswerSource, Job, OpenSource

BATCH_REQUESTS = 5_000
BATCHES = 4
POLL = 120.0


@dataclass(frozen=True)
class BatchOptions:
    """How batches are made and waited for.

    Attributes:
        requests: Requests a batch, at most.
        batches: Batches at the server at a time; the first goes alone.
        poll: Longest time between two looks at the batches, in seconds.
        wait: Whether to wait for them, or only to submit and to collect what has ended.
        keep_files: Whether to leave the files of a batch at the server.
        note: Told what a user should know, in a line.

    Raises:
        ConfigError: For a value out of its range.
    """

    requests: int = BATCH_REQUESTS
    batches: int = BATCHES
    poll: float = POLL
    wait: bool = True
    keep_files: bool = False
    note: Callable[[str], None] = console.note

    def __post_init__(self) -> None:
        faults = []
        if not 1 <= self.requests <= MOST_REQUESTS:
            faults.append(
                f"--batch-requests must be in [1, {MOST_REQUESTS:,}], got {self.requests:,}"
            )
        if self.batches < 1:
            faults.append(f"--concurrency must be at least 1, got {self.batches}")
        if not self.poll > 0:
            faults.append(f"--poll must be above 0, got {self.poll:g}")
        if faults:
            raise ConfigError(faults)


class BatchModel:
    """A model that is asked in batches.

    Args:
        model: Its name, as the server knows it.
        server: The server.
        style: Which form of request the model reads.
        dialect: How the server wants to be asked, as far as it is known.
    """

    name = "openai-batch"
    uses_llm = True
    offline = False

    def __init__(
        self,
        model: str,
        server: BatchServer,
        *,
        style: PromptStyle = "chat",
        dialect: Dialect | None = None,
    ) -> None:
        self.model = model
        self.style = style
        self.server = server
        self.dialect = dialect or Dialect()

    def __repr__(self) -> str:
        return f"BatchModel(model={self.model!r}, server={self.server!r})"

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance, from which a later run recalls the dialect."""
        return {
            "backend": self.name,
            "llm": True,
            "base_url": self.server.address,
            "dialects": {self.server.address: self.dialect.memory()},
        }

    def recall(self, dialects: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin with what an earlier run found out, by address; see `base.Learner`."""
        kept = dialects.get(self.server.address)
        if kept is not None:
            self.dialect = Dialect.recalled(kept)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.server.aclose()

    def source(self, options: BatchOptions | None = None) -> OpenSource:
        """What brings this model's answers to a run."""

        def open_source(job: Job) -> AnswerSource:
            from pipeline.llm.batch.source import BatchSource

            return BatchSource(job, self, options or BatchOptions())

        return open_source
