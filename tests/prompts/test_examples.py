from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from prompts import examples
from prompts.axes import REGISTERS
from prompts.errors import PromptError
from prompts.examples import draw_examples, pool
from prompts.rules import judge
from prompts.words import stems
from tests.prompts.conftest import RequestMaker


def test_the_pool_is_large_in_every_register_and_repeats_nothing() -> None:
    counts = Counter(example.register for example in pool())
    assert len(pool()) >= 200
    assert set(counts) == set(REGISTERS) and min(counts.values()) >= 30
    assert len({example.caption for example in pool()}) == len(pool())


def test_the_examples_obey_the_rules_that_answers_must(make_request: RequestMaker) -> None:
    for example in pool():
        request = make_request(register=example.register)
        assert judge(example.caption, request) is None, example


@pytest.mark.parametrize("register", REGISTERS)
def test_a_draw_has_one_register_and_no_sound_twice(register: str) -> None:
    for seed in range(20):
        drawn = draw_examples(np.random.default_rng(seed), 8, register=register, sources=1)
        assert len(drawn) == 8
        assert {example.register for example in drawn} == {register}
        heads = [one for example in drawn for name in example.concepts for one in stems(name)]
        assert len(heads) == len(set(heads))


def test_several_sources_are_shown_where_several_are_asked_for() -> None:
    drawn = draw_examples(np.random.default_rng(0), 5, register="sentence", sources=3)
    assert all(len(example.concepts) > 1 for example in drawn)


def test_what_is_asked_for_is_never_shown() -> None:
    for seed in range(50):
        drawn = draw_examples(
            np.random.default_rng(seed), 14, register="sentence", sources=1, avoid=["church bell"]
        )
        assert not any({"church", "bel"} & set(stems(example.caption)) for example in drawn)


def test_draws_differ_and_repeat_with_their_seed() -> None:
    def drawn(seed: int) -> tuple[str, ...]:
        rng = np.random.default_rng(seed)
        return tuple(e.caption for e in draw_examples(rng, 6, register="phrase", sources=1))

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(30)}) == 30


def test_a_hint_is_a_word_of_the_caption_that_tells_the_sound() -> None:
    hints = {example.caption: example.hint for example in pool()}
    assert hints["a kettle whistles on a stove"] == "whistles"
    assert hints["frogs croaking by a pond at night"] == "croaking"
    assert hints["applause"] == ""


def test_a_broken_line_of_the_pool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "data_lines", lambda _: iter([(7, "poem | dog | woof")]))
    with pytest.raises(PromptError, match=r"examples\.txt, line 7"):
        pool.__wrapped__()
