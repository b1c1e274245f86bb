from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.naming import names, text_stems


@pytest.mark.parametrize(
    ("caption", "concept", "aliases"),
    [
        ("two dogs bark", "dog", ()),
        ("a puppy yelps", "dog", ("puppy",)),
        ("someone is grinding coffee", "coffee grinder", ()),
        ("a grinder whirs", "coffee grinder", ()),
        ("the bell tolls", "church bell", ()),
        ("motorboats pass", "boat", ()),
        ("raindrops patter", "rain", ()),
        ("windchimes tinkle", "wind chimes", ()),
        ("a rusty door moves", "door creaking", ()),
        ("a sewing machine rattles", "sewing machine", ()),
        ("a man keeps snoring", "snoring", ()),
        ("people clap", "applause", ("clapping",)),
        ("babies cry", "baby crying", ()),
        ("a man on a phone", "telephone conversation", ("phone",)),
    ],
)
def test_named(caption: str, concept: str, aliases: tuple[str, ...]) -> None:
    assert names(text_stems(caption), concept, aliases)


@pytest.mark.parametrize(
    ("caption", "concept"),
    [
        ("a cat meows", "dog"),
        ("coffee drips into a cup", "coffee grinder"),
        ("a choir sings in a church", "church bell"),
        ("a washing machine spins", "sewing machine"),
        ("a trainer shouts", "rain on a roof"),
        ("the sound of wind", "engine sound"),
        ("a ball bounces", "bell"),
        ("carpet is beaten", "car"),
    ],
)
def test_not_named(caption: str, concept: str) -> None:
    assert not names(text_stems(caption), concept)


@given(st.text(), st.text())
def test_any_texts_can_be_compared(caption: str, concept: str) -> None:
    assert names(text_stems(caption), concept) in (True, False)


@given(st.sampled_from(["dog", "church bell", "coffee grinder", "baby crying", "3d printer"]))
def test_a_concept_names_itself(concept: str) -> None:
    assert names(text_stems(f"the {concept} nearby"), concept)
