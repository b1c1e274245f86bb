from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.unwrap import Piece, clean, unwrap_completion, unwrap_json, unwrap_lines

TWO = ["a dog barks", "a cat meows"]


def texts(pieces: list[Piece]) -> list[str]:
    return [piece.text for piece in pieces]


@pytest.mark.parametrize(
    "answer",
    [
        '{"captions": ["a dog barks", "a cat meows"]}',
        '  {"captions": ["a dog barks", "a cat meows"], "note": "done"}\n',
        '```json\n{"captions": ["a dog barks", "a cat meows"]}\n```',
        '```\n["a dog barks", "a cat meows"]\n```',
        'Sure! Here it is:\n{"captions": ["a dog barks", "a cat meows"]}\nEnjoy {these}!',
        '["a dog barks", "a cat meows"]',
        '[{"caption": "a dog barks"}, {"caption": "a cat meows"}]',
        '{"captions": [{"text": "a dog barks", "id": "1"}, {"text": "a cat meows"}]}',
        '{"captions": {"1": "a dog barks", "2": "a cat meows"}}',
        '{"result": {"captions": ["a dog barks", "a cat meows"]}}',
        '{"captions": ["a dog barks", "a cat meows",]}',
        '{"captions": ["a dog barks" "a cat meows"',
        "1. a dog barks\n2. a cat meows",
        "- a dog barks\n- a cat meows\n",
        "Here are two captions:\n\na dog barks\na cat meows",
    ],
)
def test_two_captions_are_found_however_they_are_wrapped(answer: str) -> None:
    assert [clean(text) for text in texts(unwrap_json(answer, cut=False))] == TWO


def test_json_that_was_cut_gives_its_whole_strings_and_marks_the_rest() -> None:
    pieces = unwrap_json('{"captions": ["a dog barks", "a cat \\"me', cut=True)
    assert pieces == [Piece("a dog barks"), Piece('a cat "me', cut=True)]


def test_escapes_in_cut_json_are_read() -> None:
    assert texts(unwrap_json('{"captions": ["caf\\u00e9 noise", "x', cut=True))[0] == "café noise"


def test_a_list_leaves_the_prose_around_it_out() -> None:
    answer = "Here are some:\n* a dog barks\n* a cat meows\nLet me know if you need more."
    assert texts(unwrap_lines(answer, cut=False)) == ["* a dog barks", "* a cat meows"]


def test_only_the_last_line_of_a_cut_answer_is_cut() -> None:
    assert [piece.cut for piece in unwrap_lines("a dog barks\na cat", cut=True)] == [False, True]
    assert [piece.cut for piece in unwrap_lines("a dog barks\na cat\n", cut=True)] == [False, False]


def test_a_completion_goes_on_from_its_beginning() -> None:
    assert texts(unwrap_completion(" barks\n", ["dog"], 1, start="a dog", cut=False)) == [
        "a dog barks"
    ]


def test_several_continuations_of_one_prompt_all_go_on_from_its_beginning() -> None:
    answer = " barks\n's growling\n\n howls\ndog: the dog yelps\n"
    assert texts(unwrap_completion(answer, ["dog"], 4, start="a dog", cut=False)) == [
        "a dog barks",
        "a dog's growling",
        "a dog howls",
        " the dog yelps",
    ]


def test_a_completion_ends_with_what_was_asked_for() -> None:
    answer = " a dog barks\ncat: a cat meows\nowl: an owl hoots"
    assert texts(unwrap_completion(answer, ["dog"], 1, cut=False)) == ["a dog barks"]


def test_a_line_with_its_own_label_is_whole() -> None:
    pieces = unwrap_completion("dog: the dog barks\n", ["dog"], 1, start="a dog", cut=False)
    assert [clean(piece.text) for piece in pieces] == ["the dog barks"]


def test_a_completion_that_ran_out_of_tokens_is_cut() -> None:
    assert unwrap_completion(" a dog and", ["dog"], 1, cut=True)[0].cut
    assert not unwrap_completion(" a dog barks\ncat: a", ["dog"], 1, cut=True)[0].cut


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('  "a dog barks"  ', "a dog barks"),
        ("1. a dog barks", "a dog barks"),
        ("(2) a dog barks", "a dog barks"),
        ("• a dog barks", "a dog barks"),
        ("a\tdog\u00a0 barks\x07", "a dog barks"),
        ("a dog’s bark", "a dog's bark"),
        ("cafe\u0301 noise", "café noise"),
        ('"a dog barks",', "a dog barks"),
        ("3 dogs bark", "3 dogs bark"),
        ("\ud800", ""),
        ('"', '"'),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text())
def test_a_clean_text_is_one_line_that_can_be_stored(text: str) -> None:
    once = clean(text)
    once.encode("utf-8")
    assert once.splitlines() in ([], [once])
    assert "  " not in once and once == once.strip()


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_strict_json_comes_through_unchanged(captions: list[str]) -> None:
    assert texts(unwrap_json(json.dumps({"captions": captions}), cut=False)) == captions


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 100_000, "```" * 50_000, '"' * 100_000])
def test_hostile_text_takes_no_time(text: str) -> None:
    begin = time.process_time()
    unwrap_json(text, cut=False)
    unwrap_json('{"captions": [' + text, cut=True)
    # Linear work takes some 50 ms here; quadratic work on 100,000 characters takes minutes.
    assert time.process_time() - begin < 5
