from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.axes import Axes, Axis
from prompts.bank import ConceptBank
from prompts.details import TOLD, bare
from prompts.errors import PromptError
from prompts.lexicon import known_concepts
from prompts.plan import Plan, Sampling

SMALL = ConceptBank.from_names(["dog", "rain", "church bell", "kettle", "zorgophone"])
TEMPLATES = ("chat.v1", "chat.v2", "completion.v1", "completion.v2")
# One register, one source, nothing else said: equal prompts come up soon.
BARE = Axes(register=Axis("register", ("label",), (1,)))


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_plan_repeats_itself(template: str) -> None:
    one, other = Plan(seed=4, template=template), Plan(seed=4, template=template)
    assert [one.request(i) for i in range(40)] == [other.request(i) for i in range(40)]


@pytest.mark.parametrize("template", TEMPLATES)
@given(order=st.permutations(range(12)))
def test_a_request_does_not_depend_on_those_asked_before(template: str, order: list[int]) -> None:
    expected = list(islice(Plan(bank=SMALL, seed=1, template=template).requests(), 12))
    plan = Plan(bank=SMALL, seed=1, template=template)
    assert {i: plan.request(i) for i in order} == dict(enumerate(expected))


@pytest.mark.parametrize("template", TEMPLATES)
def test_ids_are_the_same_in_another_process(template: str) -> None:
    code = (
        "from prompts.plan import Plan\n"
        f"print(' '.join(Plan(seed=9, template={template!r}).request(i).id for i in range(25)))"
    )
    # Another hash seed: nothing may follow the order of a set.
    env = {**os.environ, "PYTHONHASHSEED": "12345"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    plan = Plan(seed=9, template=template)
    assert found.stdout.split() == [plan.request(i).id for i in range(25)]


# What was paid for is found by these: a changed wording is a new version of the template.
GOLDEN = {
    "chat.v1": {
        0: "3ceab85ed99224d155bd370508fb0f34",
        1: "0a49ea65d454ad79af2ed6001f72d4f9",
        7: "1796bc3804ac45da556217453b38b680",
        1_000_000: "4d3c15ba71103ff7069086a77b9f43f2",
    },
    "completion.v1": {
        0: "54a4dc4f443a83404caa8d99268dc833",
        1: "a37639a977ff977bab9e9072ede0dcb9",
        7: "0c2931a2f9e259a51f48062ebca49550",
        1_000_000: "4045dbcb51245f814ccf5482c444c11e",
    },
}


@pytest.mark.parametrize("template", GOLDEN)
def test_a_published_wording_never_changes(template: str) -> None:
    plan = Plan(bank=SMALL, seed=1, model="m", template=template)
    assert {index: plan.request(index).id for index in GOLDEN[template]} == GOLDEN[template]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_ids_are_the_same_for_any_number_of_workers(template: str, workers: int) -> None:
    plan = Plan(bank=SMALL, seed=1, template=template)
    alone = [Plan(bank=SMALL, seed=1, template=template).request(i).id for i in range(60)]
    with ThreadPoolExecutor(workers) as pool:
        assert list(pool.map(lambda index: plan.request(index).id, range(60))) == alone


@pytest.mark.parametrize("template", TEMPLATES)
def test_ids_differ_within_a_plan(template: str) -> None:
    plan = Plan(bank=SMALL, axes=BARE, template=template)
    requests = [plan.request(i) for i in range(400)]
    assert len({request.id for request in requests}) == 400


def test_equal_prompts_are_told_apart_by_occurrence_and_seed() -> None:
    plan = Plan(bank=ConceptBank.from_names(["dog"]), axes=BARE, template="chat.v1")
    requests = [plan.request(i) for i in range(3000)]
    prompts = Counter(json.dumps(request.messages) for request in requests)
    twice = next(prompt for prompt, count in prompts.items() if count > 1)
    equal = [r for r in requests if json.dumps(r.messages) == twice]
    assert len({r.id for r in equal}) == len({r.seed for r in equal}) == len(equal)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"model": "other"},
        {"sampling": Sampling(temperature=0.5)},
        {"sampling": Sampling(top_p=0.5)},
        {"sampling": Sampling(max_tokens=9)},
        {"template": "chat.v2"},
        {"template": "completion.v1"},
        {"template": "completion.v2"},
        {"per_request": 2},
    ],
)
def test_what_shapes_an_answer_changes_the_id(changed: dict[str, object]) -> None:
    plan, other = Plan(bank=SMALL), Plan(bank=SMALL, **changed)  # type: ignore[arg-type]
    assert {plan.request(i).id for i in range(20)}.isdisjoint(
        {other.request(i).id for i in range(20)}
    )
    assert plan.config() != other.config()


def test_a_larger_bank_keeps_what_was_asked_of_single_sounds() -> None:
    alone = Axes(sources=Axis("sources", ("1",), (1,)))
    larger = ConceptBank((*SMALL.concepts, *ConceptBank.from_names(["owl", "saw"]).concepts))
    before = {Plan(bank=SMALL, axes=alone).request(i).id for i in range(3 * len(SMALL))}
    after = {Plan(bank=larger, axes=alone).request(i).id for i in range(3 * len(larger))}
    assert before <= after


def test_every_concept_is_asked_for_equally_often() -> None:
    counts = Counter(Plan(bank=SMALL).request(i).concepts[0] for i in range(10 * len(SMALL)))
    assert set(counts.values()) == {10}


def test_a_chat_request_says_what_it_asks() -> None:
    for request in islice(Plan(per_request=4, model="m").requests(), 60):
        assert request.is_chat and request.prompt == "" and request.model == "m"
        assert request.count == 4
        assert request.schema is not None
        assert request.schema["properties"]["captions"]["maxItems"] == 4
        assert len(request.concepts) == int(request.axes["sources"]) == len(request.aliases)
        text = request.messages[-1]["content"]
        assert all(name in text for name in request.concepts)
        assert all(example in text for example in request.examples)
        json.dumps(request.axes)


def test_each_caption_of_the_second_chat_version_has_a_brief_of_its_own() -> None:
    said = Counter[str]()
    for request in islice(Plan(template="chat.v2", per_request=4).requests(), 200):
        assert len(request.variants) == request.count == 4
        assert set(request.axes) == {"register", "sources", "relation"}
        text = request.messages[-1]["content"]
        lines = [text.split(f"\n{n}. ")[1].split("\n")[0] for n in range(1, 5)]
        for place, (line, variant) in enumerate(zip(lines, request.variants, strict=True)):
            assert request.axes_of(place) == {**request.axes, **variant}
            spoken = {name: value for name, value in variant.items() if name != "length"}
            assert all(f"{name}: {value}" in line for name, value in spoken.items())
            assert ("words" in line) == (request.register not in ("label", "tags"))
            said.update(spoken.keys())
        assert request.axes_of(4) == request.axes
    assert set(said) == {"action", "place", "distance", "loudness", "manner", "material"}


def test_captions_of_one_request_are_told_different_verbs_as_far_as_there_are() -> None:
    for request in islice(Plan(template="chat.v2", per_request=5).requests(), 300):
        known = known_concepts()[request.concepts[0]]
        verbs = {verb for _, verb in known.actions}
        told_verbs = [v["action"] for v in request.variants if "action" in v]
        assert set(told_verbs) <= verbs
        if len(verbs) >= 5:
            assert len(set(told_verbs)) == len(told_verbs)


def test_a_completion_request_is_a_prompt_with_an_end() -> None:
    for request in islice(Plan(template="completion.v1").requests(), 60):
        assert not request.is_chat and request.schema is None and request.stop == ("\n",)
        assert request.count == 1
        last = request.prompt.splitlines()[-1]
        assert last.startswith(request.concepts[0]) and last.endswith(request.start)
        # What a list cannot say is not claimed of its captions.
        assert set(request.axes) == {"register", "sources", "relation"}


def test_a_completion_of_the_second_version_tells_where_and_how_in_its_key() -> None:
    told_axes = Counter[str]()
    for request in islice(Plan(template="completion.v2").requests(), 1200):
        key = request.prompt.splitlines()[-1].split(":")[0].split(", ")
        said = {name: request.axes[name] for name in TOLD if name in request.axes}
        assert not said or request.register in ("phrase", "sentence")
        # What the key tells is claimed of the caption, and nothing else.
        assert key[len(key) - len(said) :] == [bare(value) for value in said.values()]
        assert len(said) <= 2
        told_axes.update(said.keys())
    assert set(told_axes) == set(TOLD)


def test_neighbouring_completions_begin_alike_so_that_a_server_can_reuse_its_work() -> None:
    requests = list(islice(Plan(template="completion.v1", seed=3).requests(), 32))
    for block in (requests[:16], requests[16:]):
        assert len({request.register for request in block}) == 1
        shared = Counter(request.prompt.rsplit("\n", 1)[0] for request in block)
        # A request whose own sound is among the examples has others instead.
        assert max(shared.values()) >= 8


def test_an_unknown_concept_is_asked_for_by_its_name_alone() -> None:
    plan = Plan(bank=ConceptBank.from_names(["zorgophone"]), template="completion.v1")
    assert plan.request(0).prompt.endswith("\nzorgophone:")
    assert plan.request(0).start == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"per_request": 0}, r"per_request must be in \[1, 100\], got 0"),
        ({"per_request": 101}, r"per_request must be in \[1, 100\], got 101"),
        ({"template": "x"}, "template must be one of"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Plan(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature must be in"),
        ({"temperature": float("nan")}, "temperature must be in"),
        ({"top_p": 0.0}, "top_p must be in"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
    ],
)
def test_sampling_that_cannot_work_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Sampling(**settings)  # type: ignore[arg-type]


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(PromptError, match="index must not be negative, got -1"):
        Plan().request(-1)


def test_the_configuration_is_plain_and_complete() -> None:
    config = Plan(bank=SMALL, model="m", axes=BARE).config()
    assert json.loads(json.dumps(config)) == config
    assert config["axes"] != Plan(bank=SMALL, model="m").config()["axes"]
    assert config["template_hash"] == Plan().template_hash
