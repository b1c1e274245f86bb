"""A model behind servers, asked by several processes: what a cache remembers, and who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.llm.base import Answer, PromptStyle
from pipeline.llm.servers import Settings, open_servers
from pipeline.llm.source import AnswerSource, Job
from prompts.request import Request


class StripedModel:
    """Servers, asked by several processes where a plan without an end is worked off (`source`).

    For the rest, as the few requests of a retry, it is a backend like any other, in this process.

    Args:
        settings: What each client needs.
        workers: How many processes, at most.

    Attributes:
        settings: With what is known of the servers.
        workers: How many processes, at most.

    Raises:
        AuthenticationError: If a server needs a key and there is none.
        UsageError: If an address is not one.
    """

    name = "openai"
    uses_llm = True
    offline = False

    def __init__(self, settings: Settings, workers: int) -> None:
        # Opens nothing yet, but finds what is wrong with the settings, and says what they are.
        self._here = open_servers(settings)
        self._learnt: dict[str, Mapping[str, Any]] = {}
        self.settings = settings
        self.workers = workers
        self.model = settings.model
        self.style: PromptStyle = settings.style

    def __repr__(self) -> str:
        return f"StripedModel({self._here!r}, workers={self.workers})"

    def describe(self) -> dict[str, Any]:
        """Settings for the provenance; the number of workers shapes nothing, and is not in it."""
        told = self._here.describe()
        return {**told, "dialects": {**told["dialects"], **self._learnt}}

    def recall(self, dialects: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin with what an earlier run learnt; see `dialect.Learner`."""
        self._here.recall(dialects)
        self.settings = replace(self.settings, dialects=dialects)

    def learn(self, dialects: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember what a worker found out about the servers."""
        self._learnt.update(dialects)

    async def answer(self, request: Request) -> Answer:
        """Make one attempt, in this process; see `base.Backend`."""
        return await self._here.answer(request)

    async def aclose(self) -> None:
        """Close the connections of this process."""
        await self._here.aclose()

    def source(
        self, job: Job, *, concurrency: int, rpm: int | None, tpm: int | None
    ) -> AnswerSource:
        """Who brings the answers to a plan without an end."""
        from pipeline.llm.stripes.source import StripedSource

        return StripedSource(
            job, self, workers=self.workers, concurrency=concurrency, rpm=rpm, tpm=tpm
        )
