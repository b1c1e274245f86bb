from __future__ import annotations

import hashlib
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from cache_store.text import caption_id, normalise_caption

ANY_TEXT = st.text(st.characters())  # lone surrogates included


def test_case_and_punctuation_stay() -> None:
    assert normalise_caption("A Dog barks, loudly!") == "A Dog barks, loudly!"


def test_white_space_and_controls_become_one_space() -> None:
    assert normalise_caption("\ufeff a\tdog\u00a0\u2003barks\x00\r\n\u200bloudly \x85") == (
        "a dog barks loudly"
    )


def test_composed_and_decomposed_spellings_are_one_caption() -> None:
    composed, decomposed = "a caf\u00e9", "a cafe\u0301"
    assert composed != decomposed
    assert caption_id(composed) == caption_id(decomposed)


def test_the_id_is_the_start_of_a_plain_sha256() -> None:
    # Written out, so that a change of the rule, which would orphan every cache, fails here.
    expected = hashlib.sha256("a caf\u00e9".encode()).hexdigest()[:32]
    assert caption_id("  a cafe\u0301\n") == expected
    assert caption_id("dog") == "cd6357efdd966de8c0cb2f876cc89ec7"


@given(ANY_TEXT)
def test_the_normal_form_is_normal(text: str) -> None:
    normal = normalise_caption(text)
    assert normalise_caption(normal) == normal
    assert unicodedata.is_normalized("NFC", normal)
    assert normal == " ".join(normal.split())
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in normal)


@given(ANY_TEXT)
def test_every_text_has_an_id(text: str) -> None:
    identity = caption_id(text)
    assert len(identity) == 32
    assert identity == caption_id(normalise_caption(text))
