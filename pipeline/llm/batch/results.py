"""The results that a plan has by now, in plan order: what the ledger has, or was given up."""

from __future__ import annotations

from pipeline.llm.source import Answered, Job, Result, Unanswered

_AT_ONCE = 64  # results read from the ledger at a time


class KnownResults:
    """Reads results from the ledger.

    Args:
        job: The plan and the ledger.

    Attributes:
        fresh: Requests that got their result in this run, and were not handed on yet.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._given_up: dict[str, str] = {}
        self.fresh: set[str] = set()

    def give_up(self, reasons: dict[str, str]) -> None:
        """These got no answer: request id, and why."""
        self._given_up |= reasons
        self.fresh |= reasons.keys()

    def from_place(self, position: int) -> list[Result]:
        """The results from `position` on that are there, up to the first that is not."""
        # The first alone, since most often there is none, and to make requests takes time.
        results = self._results(range(position, position + 1))
        if results:
            results += self._results(range(position + 1, position + _AT_ONCE))
        return results

    def is_replay(self, result: Result) -> bool:
        """Whether a result that is handed on is an answer of an earlier run."""
        self.fresh.discard(result.request.id)
        return result.replayed and isinstance(result, Answered)

    def _results(self, positions: range) -> list[Result]:
        if self._job.length is not None:
            positions = positions[: max(0, self._job.length - positions.start)]
        requests = [self._job.request(position) for position in positions]
        ids = [request.id for request in requests]
        answers = self._job.ledger.get(ids)
        lost = self._job.ledger.given_up(ids) | self._given_up
        results: list[Result] = []
        for request in requests:
            replayed = request.id not in self.fresh
            if (answer := answers.get(request.id)) is not None:
                results.append(Answered(request, answer, replayed))
            elif request.id in lost:
                results.append(Unanswered(request, lost[request.id], replayed))
            else:
                break
        return results
