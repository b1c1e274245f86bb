from __future__ import annotations

import pytest

from pipeline.grow.wordings import COUNT, calibration_bank, wordings
from prompts.bank import Concept, ConceptBank
from prompts.naming import names, text_stems


def test_every_concept_has_its_wordings_and_they_name_it() -> None:
    bank = ConceptBank.from_names(["dog", "church bell", "zebra finch song"])
    for concept, texts in zip(bank, wordings(bank), strict=True):
        assert len(texts) == COUNT
        for text in texts:
            assert names(text_stems(text), concept.name, concept.synonyms), text


def test_they_differ_where_the_grammar_has_enough() -> None:
    (dog,) = wordings(ConceptBank.from_names(["dog"]))
    assert len({text.casefold() for text in dog}) == COUNT


def test_they_do_not_depend_on_the_order_of_asking_or_on_repeats() -> None:
    bank = ConceptBank.from_names(["dog", "rain"])
    assert wordings(bank) == wordings(bank)
    assert wordings(ConceptBank(bank.concepts, (3, 1))) == wordings(bank)


def test_the_spread_is_measured_on_concepts_that_have_verbs() -> None:
    builtin = ConceptBank.builtin()
    mixed = ConceptBank((*builtin.concepts[:20], Concept("teleporter")))
    assert calibration_bank(mixed).concepts == builtin.concepts[:20]


@pytest.mark.parametrize("names_given", [["teleporter"], ["dog", "cat", "warp drive"]])
def test_a_list_of_bare_names_borrows_them_from_ours(names_given: list[str]) -> None:
    borrowed = calibration_bank(ConceptBank.from_names(names_given))
    assert len(borrowed) > 50
    assert all(concept.actions for concept in borrowed)
