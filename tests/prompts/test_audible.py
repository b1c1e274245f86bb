from __future__ import annotations

import pytest

from prompts.audible import audible_stems, is_audible, verb_stems
from prompts.lexicon import builtin_concepts
from prompts.naming import text_stems
from prompts.words import stem, third_person, words


def audible(text: str) -> bool:
    return is_audible(words(text), text_stems(text))


@pytest.mark.parametrize(
    "text",
    [
        "a dog barks",
        "thunder rumbling far away",
        "the quiet hum of a fridge",
        "loud voices and music",
        "someone applauds",
        "silence, then a shot",
    ],
)
def test_sounds(text: str) -> None:
    assert audible(text)


@pytest.mark.parametrize(
    "text",
    ["a dog on a mat", "a red chair", "a kitten lies there", "a man holds a letter", ""],
)
def test_no_sounds(text: str) -> None:
    assert not audible(text)


def test_nearly_every_action_of_the_list_is_audible() -> None:
    silent = [
        (subject, verb)
        for concept in builtin_concepts()
        for subject, verb in concept.actions
        if not audible(f"{subject.strip('+')} {third_person(verb)}")
    ]
    total = sum(len(concept.actions) for concept in builtin_concepts())
    assert len(silent) < 0.005 * total, silent


def test_words_around_a_verb_are_no_verbs() -> None:
    assert stem("off") not in verb_stems()
    assert verb_stems() <= audible_stems()
