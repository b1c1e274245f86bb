"""What earlier runs in a cache say of a model, read from the cache's provenance.

Best is the plan itself, then other plans of the same model and wording: they tell how many captions
of a request are kept, how long answers are, and how fast they came.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.planning import Range

# What may change from one run to the next, beyond chance: captions that were said before are
# refused, so that fewer are kept as a cache grows.
_DRIFT = 0.1
_FEWEST = 10  # requests below which a run says nothing


@dataclass(frozen=True)
class Experience:
    """What runs have shown.

    Attributes:
        requests: Requests whose answers were judged.
        kept: Captions kept of them.
        answers: Answers of the backend, those of the ledger left out.
        read: Tokens that these read.
        written: Tokens that these wrote.
        seconds: What the last run took.
        answered: Answers that it got in that time.
        own: Whether it is the plan's own.
    """

    requests: int
    kept: int
    answers: int
    read: int
    written: int
    seconds: float
    answered: int
    own: bool

    @property
    def says_something(self) -> bool:
        """Whether there is enough to go by."""
        return self.requests >= _FEWEST and self.kept > 0

    def kept_each(self) -> Range:
        """Captions kept of one request; the range holds 19 times of 20, and for some drift."""
        mean = self.kept / self.requests
        # Captions are kept or not one by one: their number varies as that of rare events at most.
        chance = 1.96 * math.sqrt(self.kept) / self.requests / mean
        return Range(mean, mean * max(0.0, 1 - chance - _DRIFT), mean * (1 + chance))

    def written_each(self) -> Range | None:
        """Tokens of one answer, None if none was counted."""
        if not self.answers or not self.written:
            return None
        return Range.within(self.written / self.answers, 2 / math.sqrt(self.answers))

    def pace(self) -> Range | None:
        """Answers a second in the last run, None if it got none."""
        if not self.answered or self.seconds <= 0:
            return None
        return Range.within(self.answered / self.seconds, 0.25)


def experience(
    steps: Iterable[Mapping[str, Any]], key: str, config: Mapping[str, Any]
) -> Experience | None:
    """Gather what runs in a cache have shown.

    Args:
        steps: The cache's provenance, oldest first.
        key: The plan's own name there.
        config: The plan's settings: others of the same model, template, count and temperature are
            as good a guess as there is.

    Returns:
        None if no run says enough.
    """
    asked = [step for step in steps if step.get("step") == "generate" and "plan" in step]
    for own in (True, False):
        found = _gather([step for step in asked if _belongs(step, key, config, own)], own)
        if found is not None and found.says_something:
            return found
    return None


def _belongs(step: Mapping[str, Any], key: str, config: Mapping[str, Any], own: bool) -> bool:
    if own:
        return bool(step["plan"] == key)
    theirs = step.get("config", {})
    names = ("model", "template", "per_request", "temperature")
    return all(theirs.get(name) == config.get(name) for name in names)


def _gather(steps: list[Mapping[str, Any]], own: bool) -> Experience | None:
    if not steps:
        return None
    last = {step["plan"]: step for step in steps}.values()
    fresh = [step for step in steps if step.get("requests", 0) and step.get("seconds", 0)]
    return Experience(
        requests=sum(step["next_request"] for step in last),
        kept=sum(step["kept"] for step in last),
        answers=sum(step.get("requests", 0) for step in steps),
        read=sum(step.get("prompt_tokens", 0) for step in steps),
        written=sum(step.get("completion_tokens", 0) for step in steps),
        seconds=fresh[-1]["seconds"] if fresh else 0.0,
        answered=fresh[-1]["requests"] if fresh else 0,
        own=own,
    )
