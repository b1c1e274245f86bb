"""Hashed pieces: any text, the same everywhere, alike for words that look alike."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import EmptyInputError
from cache_store.spaces.tiny.tokens import BUCKETS, pieces_of, tokenize, words_of

texts = st.text(min_size=1).filter(lambda text: text.strip() != "")


@given(texts)
def test_any_text_with_a_visible_character_has_words(text: str) -> None:
    cut = tokenize([text, "dog"])
    assert len(cut.rows) == 2
    assert all(row.size for row in cut.rows)
    assert cut.pieces.min() >= 0 and cut.pieces.max() < BUCKETS
    assert cut.weights.shape == cut.pieces.shape
    assert max(row.max() for row in cut.rows) == cut.offsets.size - 1


@given(texts)
def test_case_and_surrounding_space_do_not_matter(text: str) -> None:
    assert words_of(f"  {text}\n") == words_of(text)
    assert words_of("A Dog BARKS!") == ["a", "dog", "barks"]


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u3000"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(EmptyInputError, match="an empty text has no embedding"):
        words_of(text)


def test_text_without_letters_is_read_by_its_characters() -> None:
    assert words_of(":-) !") == [":-)", "!"]


def test_pieces_are_the_word_and_its_marked_n_grams() -> None:
    def bucket(piece: str) -> int:
        return zlib.crc32(piece.encode()) % BUCKETS

    expected = ["=cat", "<ca", "cat", "at>", "<cat", "cat>", "<cat>"]
    assert pieces_of("cat") == tuple(bucket(piece) for piece in expected)


def test_weights_are_one_for_the_word_and_a_mean_over_its_n_grams() -> None:
    cut = tokenize(["cat dog cat"])
    assert cut.rows[0].tolist() == [0, 1, 0]
    assert cut.offsets.tolist() == [0, 7]
    assert np.allclose(np.add.reduceat(cut.weights, cut.offsets), 2.0)


def test_inflections_share_most_of_their_n_grams() -> None:
    barked, barking, meowing = (
        set(pieces_of(word)[1:]) for word in ("barked", "barking", "meowing")
    )
    assert len(barked & barking) > 3 * len(barked & meowing)


def test_a_monstrous_word_is_cut() -> None:
    assert words_of("a" * 10_000) == ["a" * 40]
