from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.grow.plans import plans_of_rounds
from pipeline.llm.scripted import Call, ScriptedBackend
from pipeline.retry import plans_to_retry, retry
from pipeline.standing import plan_key
from prompts.bank import ConceptBank
from tests.pipeline.grow.world import BANK, HEARD, asker, captions_of, grow, manifest_of
from tests.pipeline.test_retry import impatient


def some_fail(call: Call) -> str:
    return "not_an_api" if call.request.index in (1, 2) else "good"


def test_a_round_makes_the_plan_that_it_recorded(cache: Path, audio: Path) -> None:
    report = grow(cache, audio, n=40)
    steps = manifest_of(cache).provenance
    made = plans_of_rounds(steps, asker().plan)
    assert [plan_key(plan) for plan in made] == [one.record.plan for one in report.rounds]
    assert [concept.name for concept in made[0].bank] == list(report.rounds[0].record.concepts)


def test_other_settings_make_none_of_its_plans(cache: Path, audio: Path) -> None:
    grow(cache, audio, n=40)
    steps = manifest_of(cache).provenance
    without_dogs = ConceptBank.from_names([name for name in HEARD if name != "dog"])
    other_model = replace(asker().plan, model="another")
    assert plans_of_rounds(steps, other_model) == []
    assert plans_of_rounds(steps, asker(bank=without_dogs).plan) == []
    assert plans_of_rounds([], asker().plan) == []


def test_failures_of_a_round_are_asked_again_and_nothing_else(cache: Path, audio: Path) -> None:
    report = grow(cache, audio, ScriptedBackend(some_fail, patience=0.0), n=40)
    before = captions_of(cache)
    (plan,) = plans_to_retry(cache, asker(bank=BANK).plan)
    backend = ScriptedBackend()
    again = retry(cache, plan, backend, retrier=impatient(), notes={"concepts_from": "the world's"})
    assert (again.outcome, again.failures, again.answered) == ("done", 2, 2)
    assert set(backend.actor.calls) == {plan.request(1).id, plan.request(2).id}
    assert again.plan_total == report.kept + again.kept
    step = manifest_of(cache).provenance[-1]
    assert (step["step"], step["plan"]) == ("retry", report.rounds[0].record.plan)
    assert step["concepts_from"] == "the world's"

    # The rounds stand as they were measured, and the new captions count from now on.
    after = grow(cache, audio, n=40)
    assert after.rounds[0].record == report.rounds[0].record
    assert after.before.share == report.before.share
    assert captions_of(cache)[: len(before)] == before
    assert len(captions_of(cache)) == len(before) + again.kept
