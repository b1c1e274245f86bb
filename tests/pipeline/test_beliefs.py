from __future__ import annotations

import pytest

from pipeline.beliefs import Stated, pace
from pipeline.experience import Experience
from pipeline.llm.identity import Identity
from pipeline.planning import Range
from pipeline.priors import assumed_latency, prior

SERVER = Identity("openai", "m", "chat")
GUESS = prior("chat.v2", "m", chat=True)
EACH = Range(90.0, 60.0, 120.0)


def seen(requests: int, seconds: float) -> Experience:
    return Experience(requests, 100, requests, 1000, 1000, seconds, requests, own=True)


def test_what_is_stated_comes_first_then_what_was_seen_then_what_is_assumed() -> None:
    past = seen(100, 50.0)
    told, source = pace(Stated(seconds=2.0, concurrency=8), past, GUESS, SERVER, EACH)
    assert told.answers_per_second == Range.exactly(4.0) and "as stated" in source
    told, source = pace(Stated(concurrency=8), past, GUESS, SERVER, EACH)
    assert told.answers_per_second is not None and told.answers_per_second.expected == 2.0
    assert source == "the last run here: 2 answers a second"
    told, source = pace(Stated(concurrency=8), None, GUESS, SERVER, EACH)
    assert source.startswith("assumed: ") and source.endswith("8 in flight")


def test_the_assumed_latency_is_the_first_token_and_then_the_rest() -> None:
    latency = assumed_latency(EACH)
    # By hand: 0.6 s and 90 tokens at 60 a second; 0.2 s and 60 at 150; 3 s and 120 at 1.
    assert latency.expected == pytest.approx(2.1)
    assert (latency.low, latency.high) == (pytest.approx(0.6), pytest.approx(123.0))
    told, _ = pace(Stated(concurrency=8), None, GUESS, SERVER, EACH)
    assert told.answers_per_second is not None
    assert told.answers_per_second.expected == pytest.approx(8 / 2.1)
    assert told.answers_per_second.low == pytest.approx(8 / 123)
    assert told.answers_per_second.high == pytest.approx(8 / 0.6)


@pytest.mark.parametrize("backend", ["openai-batch", "vllm", "scripted", "grammar", "local"])
def test_nothing_is_assumed_of_what_hangs_on_a_machine_or_takes_a_day(backend: str) -> None:
    told, source = pace(Stated(), None, GUESS, Identity(backend, "m", "chat"), EACH)
    assert (told.answers_per_second, source) == (None, "")


def test_of_the_small_model_on_this_machine_a_core_was_measured() -> None:
    guess = prior("completion.v2", "SmolLM2-135M-Instruct", chat=False)
    identity = Identity("local", "SmolLM2-135M-Instruct", "completion")
    told, source = pace(Stated(concurrency=2), None, guess, identity, EACH)
    assert told.answers_per_second is not None and guess.each_core is not None
    assert told.answers_per_second == guess.each_core * 2
    assert "measured by us on one core" in source
