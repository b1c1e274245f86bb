from __future__ import annotations

import random
import statistics

import pytest

from pipeline.evidence import NO_EVIDENCE, standard_error, weigh
from pipeline.llm.base import Answer
from prompts.plan import Plan

PLAN = Plan()
REQUESTS = [PLAN.request(place) for place in range(20)]


def answers(ids: list[str], read: int = 110, written: int = 40) -> dict[str, Answer]:
    return {one: Answer("x", "stop", read, written, "m") for one in ids}


def test_counts_are_corrected_by_what_the_server_counted() -> None:
    there = answers([request.id for request in REQUESTS[:10]])
    found = weigh(REQUESTS, lambda _: 100, lambda _: 20.0, lambda ids: there)
    assert found.answers == 10
    assert found.correction.expected == pytest.approx(1.1)
    # All of them are off by the same.
    assert found.correction.high - found.correction.low == pytest.approx(0, abs=1e-9)
    assert found.length.expected == 2.0


def test_few_answers_and_servers_that_count_nothing_say_nothing() -> None:
    few = answers([request.id for request in REQUESTS[:4]])
    assert weigh(REQUESTS, lambda _: 100, lambda _: 20.0, lambda ids: few) == NO_EVIDENCE
    silent = answers([request.id for request in REQUESTS], read=0)
    assert weigh(REQUESTS, lambda _: 100, lambda _: 20.0, lambda ids: silent) == NO_EVIDENCE


def test_a_ratio_is_as_sure_as_its_answers_agree() -> None:
    """Against many samples of the same kind: lengths follow what was asked, and scatter by 30 %."""
    rng = random.Random(2)

    def sample() -> tuple[float, float]:
        asked = {request.id: rng.uniform(10, 60) for request in REQUESTS}
        said = {
            one: Answer("x", "stop", 100, max(1, round(length * rng.gauss(2, 0.6))), "m")
            for one, length in asked.items()
        }
        found = weigh(REQUESTS, lambda _: 100, lambda one: asked[one.id], lambda ids: said)
        return found.length.expected, (found.length.high - found.length.expected) / 1.96

    ratios, errors = zip(*(sample() for _ in range(400)), strict=True)
    # 400 samples of 20 tell a standard deviation to 4 %, and the estimate of it is a little low.
    assert statistics.fmean(errors) == pytest.approx(statistics.stdev(ratios), rel=0.15)


def test_the_standard_error_is_that_of_the_textbook() -> None:
    values = [1.0, 2.0, 3.0, 6.0]
    expected = statistics.stdev(values) / 2 / 3.0
    assert standard_error(values) == pytest.approx(expected)
    assert standard_error(values, total=4) == 0.0
    assert standard_error(values, total=8) == pytest.approx(expected / 2**0.5)
    assert standard_error([5.0]) == 0.0
