from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from prompts.axes import ALONE, REGISTERS, UNSAID, Axes, Axis
from prompts.errors import PromptError
from prompts.lexicon import Concept, known_concepts, places


def test_a_weighted_axis_is_drawn_as_often_as_its_weights_say() -> None:
    axis = Axis("x", ("a", "b", "c"), (1, 3, 0))
    rng = np.random.default_rng(0)
    counts = Counter(axis.draw(rng) for _ in range(4000))
    # Four standard deviations of a binomial share at n = 4,000 are 0.028.
    assert counts["b"] / 4000 == pytest.approx(0.75, abs=0.028)
    assert counts["c"] == 0


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ((), (), "a weight for each value"),
        (("a", "b"), (1.0,), "a weight for each value, got 2 values and 1 weights"),
        (("a",), (-1.0,), "not all zero"),
        (("a", "b"), (0.0, 0.0), "not all zero"),
        (("a",), (float("nan"),), "not all zero"),
        (("a",), (float("inf"),), "not all zero"),
    ],
)
def test_an_axis_that_cannot_be_drawn_is_refused(
    values: tuple[str, ...], weights: tuple[float, ...], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        Axis("x", values, weights)


def test_a_combination_is_what_drawing_axis_by_axis_gives() -> None:
    for seed in range(200):
        found = Axes().sample(np.random.default_rng(seed))
        axes, rng = Axes(), np.random.default_rng(seed)
        register, sources, _, distance, loudness, manner = (
            axis.draw(rng)
            for axis in (
                *(axes.register, axes.sources, axes.relation),
                *(axes.distance, axes.loudness, axes.manner),
            )
        )
        assert found["register"] == register
        if register != "label":
            assert found.get("distance", UNSAID) == distance
            assert found.get("loudness", UNSAID) == loudness
            assert found.get("manner", UNSAID) == manner
        if register not in ("label", "query"):
            assert found["sources"] == sources


def test_a_draw_takes_one_number() -> None:
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    Axes().register.draw(one)
    other.random()
    assert one.random() == other.random()


def test_all_registers_and_one_to_four_sources_come_up() -> None:
    rng = np.random.default_rng(0)
    samples = [Axes().sample(rng) for _ in range(1000)]
    assert {sample["register"] for sample in samples} == set(REGISTERS)
    assert {sample["sources"] for sample in samples} == {"1", "2", "3", "4"}


def test_axes_agree_with_one_another() -> None:
    rng = np.random.default_rng(2)
    for _ in range(1000):
        sample = Axes().sample(rng, known_concepts()["rain"], max_sources=3)
        assert UNSAID not in sample.values()
        assert (sample["relation"] == ALONE) == (sample["sources"] == "1")
        assert int(sample["sources"]) <= 3
        if sample["register"] == "label":
            assert set(sample) == {"register", "sources", "relation", "length"}
            assert sample["sources"] == "1"


def test_a_place_suits_the_sound() -> None:
    rng = np.random.default_rng(3)
    whale = known_concepts()["whale"]
    suitable = {phrase for code in whale.places for phrase in places()[code]}
    seen = {Axes().sample(rng, whale).get("place") for _ in range(300)} - {None}
    assert seen and seen <= suitable


def test_a_material_is_named_only_where_one_can_be_heard() -> None:
    rng = np.random.default_rng(4)
    steps, unknown = known_concepts()["footsteps"], Concept("zorgophone")
    assert any("material" in Axes().sample(rng, steps) for _ in range(50))
    assert not any("material" in Axes().sample(rng, unknown) for _ in range(50))


def test_decided_axes_keep_their_values_and_the_draws_of_the_others() -> None:
    free = Axes().sample(np.random.default_rng(5), known_concepts()["dog"])
    fixed = Axes().sample(
        np.random.default_rng(5),
        known_concepts()["dog"],
        fixed={"register": "sentence", "sources": "2", "relation": "at the same time"},
    )
    assert (fixed["register"], fixed["sources"]) == ("sentence", "2")
    assert fixed["length"] == free["length"] or free["register"] == "label"


def test_weights_can_be_replaced() -> None:
    only = Axes(register=Axis("register", ("query",), (1,)), place_share=0)
    rng = np.random.default_rng(6)
    samples = [only.sample(rng, known_concepts()["dog"]) for _ in range(50)]
    assert {sample["register"] for sample in samples} == {"query"}
    assert not any("place" in sample for sample in samples)
