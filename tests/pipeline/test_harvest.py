from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cache_store.manifest import newest_manifest
from cache_store.schema import KINDS
from cache_store.shards import read_table
from cache_store.text import caption_id, normalise_caption
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from pipeline.harvest import Harvest
from pipeline.ledger import open_ledger
from pipeline.llm.base import Answer
from pipeline.llm.source import Answered, Result, Unanswered
from pipeline.standing import plan_key, standing_of
from prompts.plan import Plan
from prompts.rules import REASONS as RULES
from prompts.schema import parse
from tests.pipeline.answers import ANSWERS, HUGE, REASONS
from tests.pipeline.llm.requests import small_plan

STYLES = {
    "chat": small_plan(),
    "completion": small_plan(template="completion.v1", per_request=3),
}


def answered(plan: Plan, index: int, text: str, reason: str) -> Answered:
    return Answered(plan.request(index), Answer(text, reason, 1, 1, "m"), replayed=False)


def harvest(folder: Path, plan: Plan, results: list[Result], shard_rows: int = 7) -> int:
    """Take all of them into a real cache; return the captions kept."""
    with open_writer(folder) as writer, open_ledger(writer.path, plan_key(plan)) as ledger:
        one = Harvest(writer, ledger, plan, dict, shard_rows=shard_rows)
        for result in results:
            one.take(result, 1_000_000)
            if one.full:
                one.publish({})
        one.publish({})
        return one.kept


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    manifest = newest_manifest(folder)
    assert manifest is not None
    entries = getattr(manifest, kind)
    return [row for entry in entries for row in read_table(folder / entry.path).to_pylist()]


@pytest.mark.parametrize("style", STYLES)
@settings(max_examples=60)
@given(answers=st.lists(st.tuples(ANSWERS, REASONS), min_size=1, max_size=5))
@example(answers=[('{"captions": ["a \\ud83d dog barks", "\\u0000"]}', "stop")])
def test_whatever_a_model_answers_is_kept_or_refused_with_a_reason(
    tmp_path_factory: pytest.TempPathFactory, style: str, answers: list[tuple[str, str]]
) -> None:
    check(STYLES[style], tmp_path_factory.mktemp("cache"), answers)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", HUGE)
def test_an_answer_beyond_reason_is_kept_or_refused_too(
    tmp_path: Path, name: str, style: str
) -> None:
    check(STYLES[style], tmp_path, [(HUGE[name], "length")], shard_rows=10_000)


def check(plan: Plan, folder: Path, answers: list[tuple[str, str]], shard_rows: int = 7) -> None:
    """Harvest these answers, and look at all that came of them."""
    results: list[Result] = [
        answered(plan, index, text, reason) for index, (text, reason) in enumerate(answers)
    ]
    kept = harvest(folder, plan, results, shard_rows)
    captions, rejects = rows(folder, "captions"), rows(folder, "rejects")
    pieces = sum(
        len(parse(one.answer.text, one.request, finish_reason=one.answer.finish_reason))
        for one in results
        if isinstance(one, Answered)
    )
    assert kept == len(captions)
    assert len(captions) + len(rejects) == pieces, "every piece is somewhere"
    assert {row["reason"] for row in rejects} <= {*RULES, "duplicate", "near_duplicate"}
    for row in captions:
        assert row["caption"] == normalise_caption(row["caption"]) != ""
        assert row["id"] == caption_id(row["caption"])
    manifest = newest_manifest(folder)
    assert standing_of(manifest, plan_key(plan)).request == len(answers)
    report = verify_cache(folder)
    assert report.whole, report.faults


@given(data=st.data())
@settings(max_examples=25)
def test_what_is_kept_does_not_depend_on_the_shards_or_on_where_a_run_ended(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    from prompts import grammar

    plan = STYLES["chat"]
    count = data.draw(st.integers(2, 8))
    silent = data.draw(st.sets(st.integers(0, count - 1)))
    results: list[Result] = []
    for index in range(count):
        request = plan.request(index)
        if index in silent:
            results.append(Unanswered(request, "timeout", replayed=False))
        else:
            results.append(answered(plan, index, grammar.answer(request), "stop"))
    cuts = sorted(data.draw(st.sets(st.integers(0, count))) | {0, count})
    whole = tmp_path_factory.mktemp("whole")
    harvest(whole, plan, results, shard_rows=1_000)
    parts = tmp_path_factory.mktemp("parts")
    for begin, end in itertools.pairwise(cuts):
        harvest(parts, plan, results[begin:end], shard_rows=data.draw(st.integers(1, 9)))
    for kind in KINDS:
        assert rows(parts, kind) == rows(whole, kind)
    gone = [row["reason"] for row in rows(whole, "rejects") if not row["caption"]]
    assert gone == ["no_answer: timeout"] * len(silent)


def test_an_answer_without_a_whole_caption_is_kept_among_the_rejects(tmp_path: Path) -> None:
    plan = STYLES["chat"]
    texts = ["I'm sorry, but I can't help with that.", "<p>no</p>", '{"captions": ["a dog bar']
    reasons = ["stop", "stop", "length"]
    results = [answered(plan, index, text, reasons[index]) for index, text in enumerate(texts)]
    harvest(tmp_path, plan, list(results))
    assert [row["answer"] for row in rows(tmp_path, "rejects") if row["answer"]] == texts
