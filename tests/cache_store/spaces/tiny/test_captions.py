"""Captions: many phrasings, each true of one kind only."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.spaces.tiny.captions import caption, framed, mixed_caption, phrases
from cache_store.spaces.tiny.lexicon import CONCEPTS, RELATIVES
from cache_store.spaces.tiny.sounds import HELD_OUT_KINDS, KINDS, TRAINED_KINDS
from cache_store.spaces.tiny.vocabulary import WORDS


def test_every_kind_has_words() -> None:
    assert set(WORDS) == set(KINDS)
    for kind, words in WORDS.items():
        assert words.things and len(words.doings) >= 2 and len(words.tags) >= 3, kind
        assert all(gerund and verb for gerund, verb in words.doings), kind


@pytest.mark.parametrize("kind", KINDS)
def test_phrases_are_many_clean_and_different(kind: str) -> None:
    all_ = phrases(kind)
    assert len(all_) >= 10
    assert len(set(all_)) == len(all_)
    assert all(text == " ".join(text.split()) and text for text in all_)


def test_no_phrase_belongs_to_two_kinds() -> None:
    owners = {kind: set(phrases(kind)) for kind in KINDS}
    for one, other in itertools.combinations(KINDS, 2):
        assert not owners[one] & owners[other], (one, other)


@given(st.sampled_from(KINDS), st.integers(0, 2**31))
def test_a_caption_is_one_clean_line_and_depends_on_its_generator_only(
    kind: str, seed: int
) -> None:
    text = caption(kind, np.random.default_rng(seed))
    assert text == " ".join(text.split())
    assert text
    assert text == caption(kind, np.random.default_rng(seed))


def test_registers_and_wording_vary() -> None:
    rng = np.random.default_rng(0)
    texts = [caption("dog", rng) for _ in range(400)]
    assert len(set(texts)) > 250
    assert any(", " in text for text in texts), "tag lists"
    assert any(text.endswith(".") for text in texts), "sentences"
    assert min(len(text.split()) for text in texts) == 1, "bare labels"
    assert max(len(text.split()) for text in texts) >= 10, "long sentences"


@given(st.lists(st.sampled_from(KINDS), min_size=2, max_size=3, unique=True), st.integers(0, 999))
def test_a_mixed_caption_speaks_of_all_kinds(kinds: list[str], seed: int) -> None:
    text = mixed_caption(kinds, np.random.default_rng(seed)).casefold()
    for kind in kinds:
        words = WORDS[kind]
        known = [*words.tags, *words.wholes]
        known += [form for pair in words.doings for form in pair]
        assert any(item.casefold() in text for item in known), (kind, text)


def test_the_lexicon_names_only_trained_kinds_and_repeats_no_phrasing() -> None:
    assert len(CONCEPTS) > 100
    seen: set[str] = set()
    for phrasings, related in CONCEPTS:
        assert phrasings and set(related) <= set(TRAINED_KINDS), phrasings
        assert len(set(phrasings)) == len(phrasings), phrasings
        seen.update(phrasings)
    assert set(RELATIVES) == set(HELD_OUT_KINDS)
    assert all(set(related) <= set(TRAINED_KINDS) for related in RELATIVES.values())


@given(st.integers(0, len(CONCEPTS) - 1), st.integers(0, 999))
def test_framed_captions_keep_a_phrasing(number: int, seed: int) -> None:
    phrasings, _ = CONCEPTS[number]
    text = framed(phrasings, np.random.default_rng(seed)).casefold()
    assert any(phrasing.casefold() in text for phrasing in phrasings)
