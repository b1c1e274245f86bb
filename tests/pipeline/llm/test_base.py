from __future__ import annotations

from pipeline.llm.base import Answer, join_lines


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    assert Answer("a \ud800 dog", "stop", 0, 0, "m").text == "a \ufffd dog"


def test_whole_pairs_stay() -> None:
    assert Answer("\U0001f436", "stop", 0, 0, "m").text == "\U0001f436"


def test_continuations_become_lines() -> None:
    assert join_lines([(" a dog", "stop"), (" a cat\n", "stop")]) == (" a dog\n a cat", "stop")


def test_a_cut_continuation_comes_last_and_marks_the_answer() -> None:
    said = [("one", "length"), ("two", "stop"), ("three", "length")]
    assert join_lines(said) == ("two\none", "length")


def test_no_continuation_is_an_empty_answer() -> None:
    assert join_lines([]) == ("", "stop")
