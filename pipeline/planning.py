"""What a run will take, as arithmetic: captions to requests to tokens, money, time and disk.

Pure: no file, no clock, no network. Every number is an expected value and the range that it is
believed to lie in. What is known of a model (`Knowledge`) comes from its own answers where there
are some, else from what we measured or assume (`priors`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.llm.prices import Price

PACE = "the model's pace"  # as what bounds the time


@dataclass(frozen=True)
class Range:
    """An expected value, and from where to where it may be; none is negative.

    Raises:
        ValueError: If they are not in order.
    """

    expected: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.expected <= self.high:
            raise ValueError(f"not in order: {self.low}, {self.expected}, {self.high}")

    @classmethod
    def exactly(cls, value: float) -> Range:
        """A value that is known."""
        return cls(value, value, value)

    @classmethod
    def within(cls, value: float, error: float) -> Range:
        """A value that may be off by a share, either way."""
        return cls(value, value * max(0.0, 1 - error), value * (1 + error))

    def __mul__(self, factor: float) -> Range:
        return Range(self.expected * factor, self.low * factor, self.high * factor)

    def __add__(self, other: Range) -> Range:
        """The sum of two; their errors are taken to go the same way."""
        return Range(self.expected + other.expected, self.low + other.low, self.high + other.high)

    def by(self, other: Range) -> Range:
        """The product of two whose errors do not depend on each other."""
        expected = self.expected * other.expected
        if not expected:
            return Range(0.0, 0.0, self.high * other.high)
        down = math.hypot(
            _log_ratio(self.expected, self.low), _log_ratio(other.expected, other.low)
        )
        up = math.hypot(
            _log_ratio(self.high, self.expected), _log_ratio(other.high, other.expected)
        )
        return Range(expected, expected * math.exp(-down), expected * math.exp(up))

    def per(self, amount: float) -> Range:
        """An amount divided by it: the rate of what takes so long, say.

        Raises:
            ZeroDivisionError: If it may be 0.
        """
        return Range(amount / self.expected, amount / self.high, amount / self.low)

    def at_least(self, value: float) -> Range:
        """No part of it below a value."""
        return Range(max(self.expected, value), max(self.low, value), max(self.high, value))

    def less(self, value: float) -> Range:
        """What remains after a known part is taken away."""
        return Range(*(max(0.0, one - value) for one in (self.expected, self.low, self.high)))


def _log_ratio(large: float, small: float) -> float:
    return math.log(large / small) if small > 0 else math.inf


@dataclass(frozen=True)
class Knowledge:
    """What is known of a model that answers a plan.

    Attributes:
        kept: Captions kept of one request.
        read: Tokens that one request makes the model read.
        written: Tokens of one answer.
    """

    kept: Range
    read: Range
    written: Range


@dataclass(frozen=True)
class Task:
    """What is to be done.

    Attributes:
        missing: Captions that are still wanted.
        count: Captions asked for in one request.
        answered: Of the requests to come, how many the ledger has answers to.
        in_flight: Requests that may be on their way when the last caption comes: they are answered,
            and paid, all the same.
    """

    missing: int
    count: int
    answered: float = 0.0
    in_flight: int = 0


@dataclass(frozen=True)
class Pace:
    """How fast answers come.

    Attributes:
        requests_per_minute: What the server allows, None for no limit.
        tokens_per_minute: The same for tokens, read and written together.
        answers_per_second: What the model manages at this concurrency, None if that is not known.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    answers_per_second: Range | None = None


@dataclass(frozen=True)
class Storage:
    """What a row and an answer take on the disk, in bytes.

    Attributes:
        dim: D, the embedding size.
        value: Bytes a value of an embedding.
    """

    dim: int
    value: int

    # Measured on 5,000 captions of 5 words: Parquet with zstd, and SQLite's pages. Embeddings of
    # float16 shrink to 0.84 of their size, and those of float32 are taken as they are.
    caption = 50
    reject = 47
    answer = 330
    written_token = 4
    float16_shrinks = 0.84

    def bytes(
        self, captions: float, rejects: float, answers: float, written: float
    ) -> dict[str, float]:
        """Bytes by what they are for; the index is a second copy of the embeddings."""
        vectors = captions * self.dim * self.value
        packed = vectors * (self.float16_shrinks if self.value == 2 else 1)
        return {
            "captions": captions * self.caption + rejects * self.reject,
            "embeddings": packed + captions * self.caption,
            "index": vectors,
            "ledger": answers * self.answer + written * self.written_token,
        }


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Attributes:
        requests: Answers needed, those in the ledger included.
        sent: Requests that are sent: the rest.
        read: Tokens read, by what is sent.
        written: Tokens written, by what is sent.
        usd: Cost, None without a price.
        seconds: Time, None where nothing bounds it.
        bound: What bounds the time.
    """

    requests: Range
    sent: Range
    read: Range
    written: Range
    usd: Range | None
    seconds: Range | None
    bound: str


def forecast(
    task: Task, known: Knowledge, *, price: Price | None = None, pace: Pace | None = None
) -> Forecast:
    """Foretell a run.

    Failed attempts are not foretold: they cost time, and money where a server charges for them.

    Args:
        task: What is to be done.
        known: What is known of the model.
        price: USD a million tokens.
        pace: How fast answers come.
    """
    requests = _requests(task, known.kept)
    sent = requests.less(task.answered)
    if sent.high:
        sent = Range(sent.expected, sent.low, sent.high + task.in_flight)
    read, written = sent.by(known.read), sent.by(known.written)
    usd = None
    if price is not None:
        usd = read * price.cost(1, 0) + written * price.cost(0, 1)
    seconds, bound = _time(sent, read + written, pace or Pace())
    return Forecast(requests, sent, read, written, usd, seconds, bound)


def _requests(task: Task, kept: Range) -> Range:
    if not task.missing:
        return Range.exactly(0.0)
    # None can bring more than it is asked for.
    fewest = math.ceil(task.missing / task.count)
    low, expected, high = (
        task.missing / one if one else math.inf for one in (kept.high, kept.expected, kept.low)
    )
    return Range(expected, low, high).at_least(fewest)


def _time(sent: Range, tokens: Range, pace: Pace) -> tuple[Range | None, str]:
    bounds: dict[str, Range] = {}
    if pace.answers_per_second is not None:
        rate = pace.answers_per_second
        bounds[PACE] = sent.by(
            Range(1 / rate.expected, 1 / rate.high, 1 / rate.low if rate.low else math.inf)
        )
    if pace.requests_per_minute:
        bounds["the limit on requests"] = sent * (60 / pace.requests_per_minute)
    if pace.tokens_per_minute:
        bounds["the limit on tokens"] = tokens * (60 / pace.tokens_per_minute)
    if not bounds:
        return None, ""
    slowest = max(bounds, key=lambda name: bounds[name].expected)
    return (
        Range(
            bounds[slowest].expected,
            max(one.low for one in bounds.values()),
            max(one.high for one in bounds.values()),
        ),
        slowest,
    )
