from __future__ import annotations

import json
from collections import Counter
from dataclasses import astuple
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.bank import Concept, ConceptBank, clean_name
from prompts.errors import PromptError
from prompts.words import stems

ONTOLOGY = json.dumps(
    [
        {"id": "/m/1", "name": "Animal", "child_ids": ["/m/2"], "restrictions": ["abstract"]},
        {"id": "/m/2", "name": "Dog", "child_ids": ["/m/3"], "restrictions": []},
        {"id": "/m/3", "name": "Bark, Bow-wow", "child_ids": [], "restrictions": []},
        {"id": "/m/4", "name": "Field recording", "child_ids": [], "restrictions": ["blacklist"]},
    ]
)


def names(bank: ConceptBank) -> list[str]:
    return [concept.name for concept in bank]


def test_every_concept_comes_once_a_round() -> None:
    bank = ConceptBank.from_names([f"sound {i}" for i in range(37)])
    for number in range(3):
        drawn = [bank.draw(5, number * 37 + i).name for i in range(37)]
        assert Counter(drawn) == Counter(names(bank))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 50))
def test_a_repeated_concept_comes_so_often_a_round(repeats: list[int], seed: int) -> None:
    bank = ConceptBank(tuple(Concept(f"sound {i}") for i in range(len(repeats))), tuple(repeats))
    seen: Counter[str] = Counter()
    for index in range(3 * sum(repeats)):
        concept, visit = bank.visit(seed, index)
        assert visit == seen[concept.name], "the visits of a concept count on, without a gap"
        assert bank.draw(seed, index) == concept
        seen[concept.name] += 1
    assert [seen[concept.name] for concept in bank] == [3 * count for count in repeats]


def test_repeats_of_one_are_the_same_sequence_and_others_another_bank() -> None:
    plain = ConceptBank.from_names(["rain", "dog", "bell"])
    once = ConceptBank(plain.concepts, (1, 1, 1))
    assert [plain.visit(3, i) for i in range(9)] == [once.visit(3, i) for i in range(9)]
    assert len({plain.hash, ConceptBank(plain.concepts, (1, 2, 1)).hash}) == 2


@pytest.mark.parametrize("repeats", [(1,), (1, 0, 1), (1, 1, 1, 1)])
def test_repeats_that_do_not_fit_are_refused(repeats: tuple[int, ...]) -> None:
    with pytest.raises(PromptError, match="repeats must be at least 1 for each of 3"):
        ConceptBank(ConceptBank.from_names(["rain", "dog", "bell"]).concepts, repeats)


def test_rounds_and_seeds_have_orders_of_their_own() -> None:
    bank = ConceptBank.builtin()
    orders = {
        tuple(bank.draw(seed, first + i).name for i in range(20))
        for seed in (0, 1)
        for first in (0, len(bank))
    }
    assert len(orders) == 4


@given(st.integers(0, 2**40), st.integers(0, 10**9))
def test_a_position_is_drawn_the_same_whatever_was_drawn_before(seed: int, index: int) -> None:
    bank = ConceptBank.from_names(["rain", "dog", "bell"])
    before = bank.draw(seed, index)
    bank.draw(seed, index + 1)
    assert ConceptBank.from_names(["rain", "dog", "bell"]).draw(seed, index) == before


def test_companions_share_a_place_and_no_word() -> None:
    bank = ConceptBank.builtin()
    rng = np.random.default_rng(0)
    for name in ("church bell", "whale", "kettle", "snowmobile"):
        main = bank.get(name)
        assert main is not None
        for _ in range(20):
            others = bank.companions(main, 3, rng)
            taken = [main, *others]
            assert len({one for c in taken for one in stems(c.name)}) == sum(
                len(set(stems(c.name))) for c in taken
            )
            assert all(set(main.places) & set(other.places) for other in others)


def test_a_bank_too_small_for_companions_gives_what_it_has() -> None:
    bank = ConceptBank.from_names(["bell", "church bell"])
    assert bank.companions(bank.concepts[0], 3, np.random.default_rng(0)) == ()


def test_text_lines_have_comments_and_groups() -> None:
    bank = ConceptBank.from_lines(
        "\ufeff# mine\nChurch  Bell\n\nalarms: siren, fire_alarm\r\nsiren\n"
    )
    assert names(bank) == ["church bell", "siren", "fire alarm"]
    assert bank.groups() == {"alarms": 3}


def test_a_known_name_brings_its_verbs_and_synonyms_along() -> None:
    dog, unknown = ConceptBank.from_lines("Dog\nzorgophone")
    assert "puppy" in dog.synonyms and dog.actions
    assert unknown == Concept("zorgophone")


def test_csv_takes_the_column_that_is_named_or_likely() -> None:
    text = 'id,label,concept\n1,x,dog\n2,y,"cat"\n'
    assert names(ConceptBank.from_csv(text)) == ["dog", "cat"]
    assert names(ConceptBank.from_csv(text, column="label")) == ["x", "y"]
    assert names(ConceptBank.from_csv("sound\nrain\n")) == ["rain"]
    said = r"no column 'sound' in my\.csv: found id, label, concept"
    with pytest.raises(PromptError, match=said):
        ConceptBank.from_csv(text, column="sound", where="my.csv")


def test_what_follows_a_comma_in_audioset_names_is_a_synonym() -> None:
    text = 'index,mid,display_name\n0,/m/1,"Male speech, man speaking"\n'
    (speech,) = ConceptBank.from_csv(text)
    assert (speech.name, speech.synonyms) == ("male speech", ("man speaking",))


def test_the_ontology_gives_its_usable_nodes_with_their_top_group() -> None:
    dog, bark = ConceptBank.from_ontology(ONTOLOGY)
    assert (dog.name, dog.group) == ("dog", "animal")
    assert (bark.name, bark.group, bark.synonyms) == ("bark", "animal", ("bow-wow",))


@pytest.mark.parametrize(
    "text",
    ["", "{", "{}x", "[1]", '[{"id": 1}]', '{"a": 1}', "[" * 5000, '[{"id":"a","name":"b"}]'],
)
def test_what_is_no_ontology_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(PromptError, match="not the AudioSet ontology: here") as error:
        ConceptBank.from_ontology(text, where="here")
    assert "\n" not in str(error.value)


def test_a_cycle_in_the_ontology_ends() -> None:
    nodes = [
        {"id": "a", "name": "One", "child_ids": ["b"]},
        {"id": "b", "name": "Two", "child_ids": ["a"]},
    ]
    assert len(ConceptBank.from_ontology(json.dumps(nodes))) == 2


@pytest.mark.parametrize("text", ["", "# nothing\n\n", " \n,"])
def test_an_empty_list_is_an_error(text: str) -> None:
    with pytest.raises(PromptError, match=r"no concepts in list\.txt"):
        ConceptBank.from_lines(text, where="list.txt")


def test_a_whole_paragraph_is_no_concept() -> None:
    with pytest.raises(PromptError, match="at most 80 characters, found 200 in"):
        ConceptBank.from_names(["x" * 200])


def test_a_column_of_numbers_is_refused() -> None:
    with pytest.raises(PromptError, match="must be text, found int in column label"):
        ConceptBank.from_names([3], where="column label")  # type: ignore[list-item]


def test_concepts_with_one_name_cannot_stand_side_by_side() -> None:
    with pytest.raises(PromptError, match="must differ"):
        ConceptBank((Concept("dog"), Concept("dog")))


@given(st.text())
def test_any_text_is_a_bank_or_an_error(text: str) -> None:
    for parse in (ConceptBank.from_lines, ConceptBank.from_csv, ConceptBank.from_ontology):
        try:
            bank = parse(text)
        except PromptError as error:
            assert "\n" not in str(error)
        else:
            assert all(name == clean_name(name) and name for name in names(bank))


def test_the_hash_follows_the_content() -> None:
    one = ConceptBank.from_names(["dog", "cat"])
    assert one.hash == ConceptBank.from_names(["Dog", "cat "]).hash
    assert one.hash != ConceptBank.from_names(["cat", "dog"]).hash
    assert len(one.hash) == 32


def test_the_hash_is_of_all_fields_in_their_order() -> None:
    bank = ConceptBank.builtin()
    rows = json.dumps([astuple(concept) for concept in bank], ensure_ascii=False)
    assert bank.hash == sha256(rows.encode()).hexdigest()[:32]
