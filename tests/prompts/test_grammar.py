from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from prompts.axes import REGISTERS, Axes, Axis
from prompts.bank import ConceptBank
from prompts.grammar import answer
from prompts.plan import Plan
from prompts.schema import Accepted, parse
from prompts.words import third_person


def captions(plan: Plan, requests: int) -> list[str]:
    return [
        result.text
        for request in islice(plan.requests(), requests)
        for result in parse(answer(request), request)
        if isinstance(result, Accepted)
    ]


def only(register: str, *more: Axis) -> Axes:
    axes: dict[str, Any] = {axis.name: axis for axis in more}
    return replace(Axes(), register=Axis("register", (register,), (1,)), **axes)


@pytest.mark.parametrize("template", ["chat.v1", "chat.v2", "completion.v1"])
def test_the_rules_accept_what_the_grammar_writes(template: str) -> None:
    plan = Plan(seed=3, template=template)
    asked = sum(request.count for request in islice(plan.requests(), 400))
    # What is refused are single odd meetings of a noun and an adjunct, at most one in a hundred.
    assert len(captions(plan, 400)) >= 0.99 * asked


def test_a_thousand_captions_hardly_repeat() -> None:
    found = captions(Plan(seed=1, per_request=1), 1010)
    assert len(found) >= 1000
    assert len(set(found)) >= 0.97 * len(found)


def test_the_grammar_follows_the_brief_of_each_caption() -> None:
    bank = ConceptBank.from_names(["dog"])
    alone = only("sentence", Axis("sources", ("1",), (1,)))
    for request in islice(Plan(bank=bank, template="chat.v2", axes=alone).requests(), 40):
        results = parse(answer(request), request)
        for result, variant in zip(results, request.variants, strict=True):
            if "action" in variant:
                assert third_person(variant["action"]) in result.text


def test_an_answer_is_a_function_of_its_request() -> None:
    plan = Plan(seed=2)
    assert [answer(plan.request(i)) for i in range(30)] == [
        answer(Plan(seed=2).request(i)) for i in range(30)
    ]


@pytest.mark.parametrize("register", REGISTERS)
def test_every_register_has_its_form(register: str) -> None:
    plan = Plan(seed=5, axes=only(register), per_request=1)
    found = captions(plan, 200)
    lengths = Counter(len(caption.split()) for caption in found)
    if register == "label":
        assert max(lengths) <= 8
    elif register == "tags":
        assert all("," in caption for caption in found)
    elif register == "query":
        assert sum(" the " in f" {caption.lower()} " for caption in found) > 150
    else:
        assert len(lengths) > 5


def test_a_sentence_has_a_verb_that_the_phrase_has_not() -> None:
    alone = Axis("sources", ("1",), (1,))
    bank = ConceptBank.from_names(["owl"])
    sentences = captions(Plan(bank=bank, axes=only("sentence", alone), per_request=1), 20)
    phrases = captions(Plan(bank=bank, axes=only("phrase", alone), per_request=1), 20)
    assert all(re.search(r"\b(hoots|screeches)\b", caption) for caption in sentences)
    assert all(re.search(r"\b(hooting|screeching)\b", caption) for caption in phrases)


def test_the_relation_of_several_sounds_is_told() -> None:
    links = {
        "in the background": "in the background",
        "one after the other": r", then |followed by",
        "at the same time": r" while | as | with ",
    }
    for relation, link in links.items():
        axes = only(
            "sentence",
            Axis("sources", ("3",), (1,)),
            Axis("relation", (relation,), (1,)),
        )
        found = captions(Plan(axes=axes, per_request=1), 30)
        assert found and all(re.search(link, caption) for caption in found)


def test_all_sounds_that_are_asked_for_are_named() -> None:
    plan = Plan(seed=8, axes=only("sentence", Axis("sources", ("3",), (1,))))
    results = [
        (request.concepts, result.concepts)
        for request in islice(plan.requests(), 60)
        for result in parse(answer(request), request)
        if isinstance(result, Accepted)
    ]
    assert all(asked == named for asked, named in results)


def test_a_concept_of_which_only_the_name_is_known_gets_plain_captions() -> None:
    plan = Plan(bank=ConceptBank.from_names(["zorgophone"]), per_request=1)
    found = captions(plan, 60)
    assert len(found) == 60
    assert all("zorgophone" in caption for caption in found)


def test_an_answer_has_as_many_captions_as_asked() -> None:
    plan = Plan(per_request=7)
    assert len(parse(answer(plan.request(0)), plan.request(0))) == 7
