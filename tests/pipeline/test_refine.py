from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.refine import Deduper
from prompts.grammar import answer
from prompts.plan import Plan
from prompts.schema import parse


def verdicts(*texts: str, threshold: float = 0.7) -> list[str | None]:
    deduper = Deduper(threshold)
    return [deduper.check(text) for text in texts]


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of words and neighbouring pairs without articles, written anew."""

    def shingles(text: str) -> set[tuple[str, ...]]:
        kept = [w.strip(".,!") for w in text.lower().split() if w not in ("a", "an", "the")]
        return {(w,) for w in kept} | set(itertools.pairwise(kept))

    return len(shingles(one) & shingles(other)) / len(shingles(one) | shingles(other))


@pytest.mark.parametrize(
    "again",
    [
        "A dog barks.",
        "a  dog barks!",
        "a dog\tbarks",
        "“a dog barks”",
        "A DOG BARKS",
        "ａ dog barks",
    ],
)
def test_case_punctuation_and_space_make_no_new_caption(again: str) -> None:
    assert verdicts("a dog barks", again) == [None, "duplicate"]


def test_another_caption_is_new() -> None:
    assert verdicts("a dog barks", "a dog howls", "a cat meows") == [None, None, None]


@pytest.mark.parametrize(
    "again",
    [
        "a large dog barks loudly behind the old wooden fence",
        "large dog barks loudly behind an old wooden fence",
        "a large dog barks loudly behind a very old wooden fence",
    ],
)
def test_nearly_the_same_words_in_the_same_order_are_a_near_duplicate(again: str) -> None:
    first = "a large dog barks loudly behind an old wooden fence."
    assert verdicts(first, again) == [None, "near_duplicate"]


def test_the_same_words_in_another_order_are_another_sound() -> None:
    assert verdicts("a dog barks and then a car horn honks", "a car horn honks and then a dog") == [
        None,
        None,
    ]


def test_short_labels_that_share_half_their_words_all_stay() -> None:
    labels = ("dog barking", "dog howling", "dog growling", "a dog barking", "big dog barking")
    assert verdicts(*labels) == [None] * 5


@pytest.mark.parametrize("text", ["", "  ", "...", "🐕"])
def test_texts_without_words_are_one_caption(text: str) -> None:
    assert verdicts(text, "!", "a dog barks") == [None, "duplicate", None]


def test_the_first_of_two_alike_captions_stays() -> None:
    one = "rain falls steadily on the tin roof of a shed"
    other = "rain falls steadily on the tin roof of an old shed"
    assert similarity(one, other) >= 0.7
    assert verdicts(one, other)[0] is None and verdicts(other, one)[0] is None


def test_captions_of_an_earlier_run_count() -> None:
    deduper = Deduper()
    for _ in range(2):
        deduper.add("rain falls steadily on the tin roof of a shed")
    deduper.add("Dog barking")
    assert len(deduper) == 2
    assert deduper.check("dog barking") == "duplicate"
    assert deduper.check("rain falls steadily on the tin roof of a barn") == "near_duplicate"
    assert len(deduper) == 2


def test_the_threshold_decides() -> None:
    one, other = "a dog barks loudly in a quiet street", "a dog barks loudly in a quiet park"
    assert 0.6 < similarity(one, other) < 0.8
    assert verdicts(one, other, threshold=0.6)[1] == "near_duplicate"
    assert verdicts(one, other, threshold=0.8)[1] is None


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be above 0 and at most 1"):
        Deduper(threshold)


def test_two_runs_agree_on_every_caption() -> None:
    plan = Plan(seed=1)
    texts = [r.text for i in range(150) for r in parse(answer(plan.request(i)), plan.request(i))]
    one = verdicts(*texts)
    assert one == verdicts(*texts)
    assert {None, "near_duplicate", "duplicate"} == set(one)


WORDS = st.sampled_from(
    ("dog", "cat", "rain", "bell", "barks", "falls", "rings", "loudly", "near", "far")
)


@given(st.lists(st.lists(WORDS, min_size=4, max_size=9).map(" ".join), max_size=12))
def test_a_near_duplicate_is_as_similar_as_it_is_said_to_be(texts: list[str]) -> None:
    deduper = Deduper()
    kept: list[str] = []
    for text in texts:
        reason = deduper.check(text)
        if reason == "near_duplicate":
            assert max(similarity(text, other) for other in kept) >= 0.7
        elif reason is None:
            kept.append(text)
    assert len(deduper) == len(kept)
