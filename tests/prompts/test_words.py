from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.lexicon import builtin_concepts
from prompts.words import (
    agent_root,
    article,
    distinct_stems,
    distinct_words,
    gerund,
    stem,
    stems,
    third_person,
    words,
)


@pytest.mark.parametrize(
    "forms",
    [
        ("bark", "barks", "barked", "barking"),
        ("cry", "cries", "cried", "crying"),
        ("hum", "hums", "hummed", "humming"),
        ("buzz", "buzzes", "buzzed", "buzzing"),
        ("sneeze", "sneezes", "sneezed", "sneezing"),
        ("whistle", "whistles", "whistled", "whistling"),
        ("clatter", "clatters", "clattered", "clattering"),
        ("splash", "splashes", "splashed", "splashing"),
        ("baby", "babies", "baby's"),
        ("glass", "glasses"),
        ("box", "boxes"),
        ("ring", "rings", "ringing", "rang", "rung"),
        ("leaf", "leaves"),
        ("woman", "women", "woman's"),
        ("bee", "bees"),
        ("horse", "horses"),
        ("speed", "speeds", "speeding"),
        ("boing", "boings"),
    ],
)
def test_forms_of_one_word_share_a_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("ring", "rain"), ("bell", "ball"), ("string", "ring"), ("bus", "buzz"), ("king", "kin")],
)
def test_different_words_keep_different_stems(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_an_agent_meets_its_verb() -> None:
    assert agent_root(stem("grinder")) == stem("grinding")
    assert agent_root(stem("printers")) == stem("prints")


@given(st.text())
def test_any_text_is_cut_into_words_and_stems(text: str) -> None:
    assert len(words(text)) == len(stems(text))
    assert all(word == word.lower() for word in words(text) if word.isascii())


def test_punctuation_is_no_part_of_a_word() -> None:
    assert words("A dog's bark -- loud, 3 times!") == ["a", "dog's", "bark", "loud", "3", "times"]


@pytest.mark.parametrize(
    ("verb", "third", "doing"),
    [
        ("bark", "barks", "barking"),
        ("buzz", "buzzes", "buzzing"),
        ("cry", "cries", "crying"),
        ("play", "plays", "playing"),
        ("hum", "hums", "humming"),
        ("drip", "drips", "dripping"),
        ("roar", "roars", "roaring"),
        ("clatter", "clatters", "clattering"),
        ("howl", "howls", "howling"),
        ("squeeze", "squeezes", "squeezing"),
        ("die down", "dies down", "dying down"),
        ("echo", "echoes", "echoing"),
        ("moo", "moos", "mooing"),
        ("unwrap", "unwraps", "unwrapping"),
        ("mimic a voice", "mimics a voice", "mimicking a voice"),
        ("crackle and pop", "crackles and pops", "crackling and popping"),
        ("beep again and again", "beeps again and again", "beeping again and again"),
        ("rock back and forth", "rocks back and forth", "rocking back and forth"),
    ],
)
def test_verb_phrases_are_inflected(verb: str, third: str, doing: str) -> None:
    assert third_person(verb) == third
    assert gerund(verb) == doing


def test_every_verb_of_the_list_keeps_its_stem_when_inflected() -> None:
    verbs = {phrase.split()[0] for c in builtin_concepts() for _, phrase in c.actions}
    # Hyphenated ones are two words to the stemmer; "die" becomes "dying", "lie" "lying".
    for verb in sorted(verbs - {"hee-haw", "die", "lie"}):
        assert stem(third_person(verb)) == stem(verb), verb
        assert stem(gerund(verb)) == stem(verb), verb


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("dog", "a dog"), ("engine", "an engine"), ("ukulele", "a ukulele"), ("hour", "an hour")],
)
def test_the_article_follows_the_sound(noun: str, expected: str) -> None:
    assert article(noun) == expected


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_words_of_ascii_are_cut_as_those_of_any_text(text: str) -> None:
    # A word of another script at the end takes the way of texts that are not ASCII.
    assert [*words(text), "é"] == words(f"{text} é")
    assert distinct_words(text) == set(words(text))
    assert distinct_stems(text) == set(stems(text))
