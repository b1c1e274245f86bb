"""What the answers in a ledger say of a plan: how far counts are off, and how long answers are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.planning import Range

if TYPE_CHECKING:
    from pipeline.llm.base import Answer
    from prompts.request import Request

Answers = Callable[[Sequence[str]], Mapping[str, "Answer"]]

_FEWEST = 5  # answers below which nothing is concluded


@dataclass(frozen=True)
class Evidence:
    """What some answers of the plan say.

    Attributes:
        answers: How many were looked at; 0 where there are too few.
        correction: Tokens that the server counted for a prompt, for each that we counted.
        length: Tokens of an answer, as a multiple of what is usual for what was asked.
    """

    answers: int
    correction: Range
    length: Range


NO_EVIDENCE = Evidence(0, Range.exactly(1.0), Range.exactly(0.0))


def weigh(
    requests: Sequence[Request],
    count: Callable[[Request], int],
    usual: Callable[[Request], float],
    answers: Answers,
) -> Evidence:
    """Compare the answers that are there with what we count.

    Args:
        requests: Some requests of the plan; most may have no answer.
        count: Tokens that a request makes the model read, as we count them.
        usual: Tokens that an answer to it usually has.
        answers: The ledger's answers, by request id.
    """
    found = answers([request.id for request in requests])
    heard = [
        (count(request), usual(request), answer)
        for request in requests
        if (answer := found.get(request.id)) is not None and answer.prompt_tokens > 0
    ]
    if len(heard) < _FEWEST or not all(counted for counted, _, _ in heard):
        return NO_EVIDENCE
    return Evidence(
        len(heard),
        _ratio([(answer.prompt_tokens, counted) for counted, _, answer in heard]),
        _ratio([(answer.completion_tokens, expected) for _, expected, answer in heard]),
    )


def _ratio(pairs: Sequence[tuple[float, float]]) -> Range:
    """The ratio of two sums, with the error of a ratio estimator (Cochran 1977, section 2.11)."""
    seen, expected = (sum(one) for one in zip(*pairs, strict=True))
    ratio = seen / expected
    if not ratio:
        return Range.exactly(0.0)
    n = len(pairs)
    left = sum((one - ratio * other) ** 2 for one, other in pairs) / (n - 1)
    return Range.within(ratio, 1.96 * math.sqrt(left * n) / seen)


def standard_error(values: Sequence[float], total: int | None = None) -> float:
    """The standard error of a mean, as a share of it.

    Args:
        values: The sample.
        total: How many values there are in all, None for no end of them.
    """
    mean = statistics.fmean(values)
    if len(values) < 2 or not mean:
        return 0.0
    unseen = 1 - len(values) / total if total else 1.0
    return statistics.stdev(values) / abs(mean) * math.sqrt(max(0.0, unseen) / len(values))
