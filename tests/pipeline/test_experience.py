from __future__ import annotations

from typing import Any

import pytest

from pipeline.experience import experience

CONFIG = {"model": "m", "template": "chat.v1", "per_request": 5, "temperature": 0.8, "seed": 0}


def step(plan: str = "a", **changes: Any) -> dict[str, Any]:
    return {
        "step": "generate",
        "plan": plan,
        "config": CONFIG,
        "requests": 100,
        "replayed": 0,
        "prompt_tokens": 30_000,
        "completion_tokens": 8_000,
        "seconds": 50.0,
        "kept": 400,
        "next_request": 100,
        **changes,
    }


def test_the_plans_own_runs_add_up() -> None:
    later = step(requests=50, completion_tokens=5_500, seconds=10.0, kept=520, next_request=160)
    found = experience([step(), later], "a", CONFIG)
    assert found is not None and found.own
    assert found.kept_each().expected == 520 / 160
    written, pace = found.written_each(), found.pace()
    assert written is not None and written.expected == 13_500 / 150
    assert pace is not None and pace.expected == 5.0  # that of the last run


def test_another_plan_of_the_same_model_and_wording_is_second_best() -> None:
    found = experience([step("b")], "a", {**CONFIG, "seed": 9})
    assert found is not None and not found.own
    assert found.kept_each().expected == 4.0


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"template": "completion.v1"}, {"per_request": 1}]
)
def test_other_models_and_wordings_say_nothing(change: dict[str, Any]) -> None:
    assert experience([step("b")], "a", {**CONFIG, **change}) is None


def test_few_requests_say_nothing() -> None:
    assert experience([step(kept=3, next_request=2, requests=2)], "a", CONFIG) is None
    assert experience([step(kept=0)], "a", CONFIG) is None
    assert experience([{"step": "embed"}, {"step": "import", "plan": "a"}], "a", CONFIG) is None


def test_a_run_of_replays_has_no_pace_and_no_lengths() -> None:
    replay = step(requests=0, prompt_tokens=0, completion_tokens=0, replayed=100, seconds=1.0)
    found = experience([replay], "a", CONFIG)
    assert found is not None
    assert (found.pace(), found.written_each()) == (None, None)


def test_more_requests_narrow_the_range() -> None:
    few = experience([step(kept=40, next_request=10)], "a", CONFIG)
    many = experience([step(kept=40_000, next_request=10_000)], "a", CONFIG)
    assert few is not None and many is not None
    assert few.kept_each().high > many.kept_each().high > 4.0
