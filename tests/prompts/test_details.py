from __future__ import annotations

import numpy as np
import pytest

from prompts.axes import Axes
from prompts.details import TOLD, bare, of_caption, told
from prompts.examples import pool
from prompts.lexicon import known_concepts, places


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("in a living room", "living room"),
        ("on wood", "wood"),
        ("in the next room", "next room"),
        ("on and off", "on and off"),
        ("outdoors", "outdoors"),
        ("very close", "very close"),
        ("behind the bars of a cage", "bars of a cage"),
        ("on", "on"),
    ],
)
def test_a_value_becomes_words_without_preposition_and_article(value: str, words: str) -> None:
    assert bare(value) == words


def test_every_place_has_words() -> None:
    assert all(bare(phrase).strip() for phrases in places().values() for phrase in phrases)


@pytest.mark.parametrize(
    ("caption", "own", "details"),
    [
        ("a kettle whistles on a stove", ("kettle", "whistles"), ("stove",)),
        ("a clock ticks loudly in an empty room", ("clock", "ticks"), ("loudly", "empty room")),
        ("rain falls", ("rain", "falls"), ()),
        # Of several clauses, the last words say where only one of them is.
        ("a baby cries and a dog barks in a yard", ("baby", "dog", "cries"), ()),
        # What the key names already is not named again.
        ("someone plays an old tune on a piano", ("piano", "plays"), ()),
        ("a jet roaring low overhead", ("jet", "roaring"), ("overhead",)),
    ],
)
def test_the_words_of_a_caption(
    caption: str, own: tuple[str, ...], details: tuple[str, ...]
) -> None:
    assert of_caption(caption, own) == details


def test_the_keys_of_the_examples_come_back_in_their_captions() -> None:
    detailed = 0
    for example in pool():
        told_words = example.key[len(example.concepts) + bool(example.hint) :]
        assert all(word in example.caption for part in told_words for word in part.split())
        assert not told_words or example.register in ("phrase", "sentence")
        detailed += bool(told_words)
    assert detailed >= 60  # enough to teach the form


def test_a_long_caption_is_told_two_things_and_others_one() -> None:
    dog = known_concepts()["footsteps"]
    for seed in range(200):
        rng = np.random.default_rng(seed)
        axes = Axes().sample(rng, dog)
        said, details = told(axes, rng)
        most = 2 if axes["length"] == "long" else 1
        assert len(said) == len(details) == min(most, sum(name in axes for name in TOLD))
        assert all(axes[name] == value for name, value in said.items())
