from __future__ import annotations

import re
from collections import Counter

import pytest

from prompts import lexicon
from prompts.errors import PromptError
from prompts.lexicon import builtin_concepts, places, read_concepts
from prompts.naming import names, text_stems
from prompts.words import third_person


def read(monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, lexicon.Concept]:
    monkeypatch.setattr(lexicon, "data_text", lambda _: text)
    return {concept.name: concept for concept in read_concepts("test.txt")}


def test_the_list_is_large_and_has_no_name_twice() -> None:
    counts = Counter(concept.name for concept in builtin_concepts())
    assert len(counts) >= 600
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_list_covers_the_groups_of_everyday_sounds() -> None:
    sizes = Counter(concept.group for concept in builtin_concepts())
    assert {"people", "animals", "music", "vehicles", "tools", "nature", "home", "alarms"} <= {
        *sizes
    }
    assert {"materials", "ambience", "sports", "machines", "kitchen", "water"} <= {*sizes}
    assert min(sizes.values()) >= 10


def test_names_are_short_lower_case_noun_phrases() -> None:
    for concept in builtin_concepts():
        assert re.fullmatch(r"[a-zé0-9'-]+(?: [a-zé0-9'-]+){0,3}", concept.name), concept.name


def test_every_concept_can_be_told_and_placed() -> None:
    for concept in builtin_concepts():
        assert concept.actions, concept.name
        assert concept.places, concept.name
        assert set(concept.places) <= set(places()), concept.name


def test_whatever_a_concept_does_names_it() -> None:
    for concept in builtin_concepts():
        for subject, verb in concept.actions:
            does = verb if subject.startswith("+") else third_person(verb)
            found = text_stems(f"{subject} {does}")
            assert names(found, concept.name, concept.synonyms), (concept.name, subject, does)


def test_places_have_phrases() -> None:
    for code, phrases in places().items():
        assert phrases, code


def test_a_line_tells_noun_verbs_synonyms_and_places(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(
        monkeypatch,
        "# a comment\n[animals: yard park]\n"
        "dog: bark, growl = puppy, hound @ street\nowl: hoot\nbee: buzz @+ field\n"
        "~rain: fall @ street surface\n+steps: fade\n",
    )
    dog = found["dog"]
    assert dog.actions == (("a dog", "bark"), ("a dog", "growl"))
    assert (dog.group, dog.synonyms, dog.places) == ("animals", ("puppy", "hound"), ("street",))
    assert found["owl"].actions == (("an owl", "hoot"),)
    assert found["owl"].places == ("yard", "park")
    assert found["bee"].places == ("yard", "park", "field")
    assert found["rain"].actions == (("rain", "fall"),)
    assert (found["rain"].surface, found["rain"].places) == (True, ("street",))
    assert found["steps"].actions == (("+steps", "fade"),)


def test_marked_subjects_go_with_marked_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, "[home]\njar <a jar/!someone/!~hands>: pop, !open a jar\n")
    assert found["jar"].actions == (
        ("a jar", "pop"),
        ("someone", "open a jar"),
        ("hands", "open a jar"),
    )


def test_people_stand_for_several_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, "[people]\nsnoring <@person/a child>: snore\n")
    subjects = [subject for subject, _ in found["snoring"].actions]
    assert "someone" in subjects and "a child" in subjects and len(subjects) > 4


def test_a_line_that_is_neither_group_nor_concept_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(PromptError, match=r"test\.txt, line 2: .*'dog barks'"):
        read(monkeypatch, "[animals]\ndog barks\n")
