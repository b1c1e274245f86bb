"""What a growth did, in figures and words.

Letters: n clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline.grow.concepts import Choice
from pipeline.grow.coverage import Coverage
from pipeline.grow.prepare import Prepared
from pipeline.grow.record import Round
from pipeline.grow.tally import Tally

if TYPE_CHECKING:
    from cache_store.manifest import Manifest

Ended = Literal[
    "no clip is far",
    "no concept is left that lies near the far clips",
    "coverage rose by no more than its noise",
    "all captions are written",
    "all rounds are done",
    "the budget is spent",
    "stopped",
    "a batch is on its way: run the same command later",
    "nothing was asked",
]


@dataclass(frozen=True)
class Spent:
    """What a round took, earlier runs of it included.

    Attributes:
        requests: Requests answered.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        usd: Their cost; None where no price was given.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None


@dataclass(frozen=True)
class RoundReport:
    """One round.

    Attributes:
        record: What it decided, and how it ended.
        coverage: After it.
        written: Captions in it by concept, those that serve most clips first.
        spent: What it took.
    """

    record: Round
    coverage: Coverage
    written: dict[str, int]
    spent: Spent


@dataclass(frozen=True)
class GrowReport:
    """What a growth did, over all runs of the command.

    Attributes:
        prepared: Clips, concepts, scores.
        before: Coverage before the first round, and `nearest_before` the nearest captions then.
        after: Coverage now, and `nearest_after` the nearest captions now.
        rounds: In order.
        ended: Why there is no further round.
        next: What another round would ask for; None if it would ask for nothing.
        captions: Captions in the cache that are embedded.
    """

    prepared: Prepared
    before: Coverage
    after: Coverage
    nearest_before: Tally
    nearest_after: Tally
    rounds: tuple[RoundReport, ...]
    ended: Ended
    next: Choice | None
    captions: int

    @property
    def kept(self) -> int:
        """Captions written in all rounds."""
        return sum(one.record.kept for one in self.rounds)


def told(coverage: Coverage) -> str:
    """A coverage in words."""
    low, high = coverage.interval()
    lost = int(coverage.near_nothing.sum())
    return (
        f"{coverage.share:.1%} of {len(coverage.far):,} clips are covered [{low:.1%}, {high:.1%}], "
        f"{int(coverage.far.sum()):,} are far" + (f", {lost:,} near no concept" if lost else "")
    )


def facts(coverage: Coverage) -> dict[str, Any]:
    """A coverage for the provenance."""
    return {
        "of_clips": len(coverage.far),
        "far": int(coverage.far.sum()),
        "near_no_concept": int(coverage.near_nothing.sum()),
        "coverage": round(coverage.share, 4),
        "threshold": round(coverage.threshold, 4),
    }


def spent_on(manifest: Manifest, plan: str) -> Spent:
    """What a plan took, in all its runs."""
    steps = [step for step in manifest.provenance if step.get("plan") == plan and "kept" in step]
    prices = [step["usd"] for step in steps if "usd" in step]
    return Spent(
        requests=sum(step.get("requests", 0) for step in steps),
        prompt_tokens=sum(step.get("prompt_tokens", 0) for step in steps),
        completion_tokens=sum(step.get("completion_tokens", 0) for step in steps),
        usd=sum(prices) if prices else None,
    )
