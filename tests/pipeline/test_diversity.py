from __future__ import annotations

import csv
import math
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU
from scipy.stats import entropy

from pipeline.diversity import distinct, echo, evenness, ngrams, self_bleu, words

# A CSV of captions that people wrote, with a column `caption` (AudioCaps, Clotho, ...).
HUMAN_CAPTIONS = os.environ.get("LQTSE_HUMAN_CAPTIONS")

# Few words, so that n-grams come back within a sentence and across.
SENTENCE = st.lists(st.sampled_from(["a", "dog", "barks", "rain"]), max_size=7).map(tuple)
SENTENCES = st.lists(SENTENCE, max_size=6)


def bleu_by_sacrebleu(sentences: list[tuple[str, ...]]) -> float:
    """Self-BLEU with the reference implementation, sentence against sentence."""
    bleu = BLEU(effective_order=True, smooth_method="floor", smooth_value=0.1, tokenize="none")
    texts = [" ".join(sentence) for sentence in sentences]
    scores = [
        bleu.sentence_score(text, [*texts[:place], *texts[place + 1 :]]).score / 100
        for place, text in enumerate(texts)
    ]
    return sum(scores) / len(scores)


def test_words_are_runs_of_ascii_letters_digits_and_apostrophes() -> None:
    assert words("A dog's bark, 3 times - café") == ("a", "dog's", "bark", "3", "times", "caf")


def test_ngrams_are_runs_in_order() -> None:
    assert list(ngrams(("a", "b", "c"), 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams(("a",), 2)) == []


@given(SENTENCES, st.integers(1, 4))
def test_distinct_n_is_the_share_of_different_ngrams(
    sentences: list[tuple[str, ...]], n: int
) -> None:
    grams = [s[i : i + n] for s in sentences for i in range(len(s) - n + 1)]
    expected = len(set(grams)) / len(grams) if grams else 0.0
    assert distinct(sentences, n) == expected


@given(st.lists(SENTENCE.filter(bool), min_size=2, max_size=6))
def test_self_bleu_agrees_with_sacrebleu(sentences: list[tuple[str, ...]]) -> None:
    # The same formula in another order of operations: a few units in the last place.
    assert self_bleu(sentences) == pytest.approx(bleu_by_sacrebleu(sentences), rel=1e-9, abs=1e-12)


def test_equal_sentences_have_a_self_bleu_of_one_and_unlike_ones_of_zero() -> None:
    assert self_bleu([("a", "dog", "barks")] * 3) == pytest.approx(1.0)
    assert self_bleu([("dog",), ("rain", "falls")]) == 0.0


@pytest.mark.parametrize("sentences", [[], [()], [("dog",)], [("dog",), ()]])
def test_one_sentence_has_no_others_to_repeat(sentences: list[tuple[str, ...]]) -> None:
    assert self_bleu(sentences) == 0.0


@given(SENTENCES, st.randoms())
def test_self_bleu_does_not_depend_on_the_order(
    sentences: list[tuple[str, ...]], rng: object
) -> None:
    shuffled = list(sentences)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert self_bleu(shuffled) == pytest.approx(self_bleu(sentences), rel=1e-12)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=30).filter(any))
def test_evenness_is_the_entropy_over_its_maximum(counts: list[int]) -> None:
    expected = float(entropy(counts)) / math.log(len(counts))
    assert evenness(counts) == pytest.approx(expected, abs=1e-12)


def test_evenness_of_the_extremes() -> None:
    assert evenness([7, 7, 7]) == pytest.approx(1.0)
    assert evenness([9, 0, 0]) == 0.0
    assert evenness([3]) is None
    assert evenness([0, 0]) is None


def test_an_echo_is_told_from_captions_of_other_answers() -> None:
    group = [
        ("r1", ("a", "dog", "barks")),
        ("r1", ("a", "dog", "growls")),
        ("r2", ("puppy", "yelps")),
    ]
    found = echo({"dog": group, "rain": [("r3", ("rain",))]})
    assert (found.within, found.within_pairs) == (pytest.approx(2 / 4), 1)
    assert (found.across, found.across_pairs) == (0.0, 2)


@given(st.lists(st.tuples(st.sampled_from("xyz"), SENTENCE), max_size=8))
def test_an_echo_is_the_mean_over_all_pairs(group: list[tuple[str, tuple[str, ...]]]) -> None:
    pairs = [
        (one == other, len({*left} & {*right}) / len({*left} | {*right}))
        for (one, left), (other, right) in combinations([m for m in group if m[1]], 2)
    ]
    found = echo({"dog": group})
    for same, mean, count in (
        (True, found.within, found.within_pairs),
        (False, found.across, found.across_pairs),
    ):
        values = [value for is_same, value in pairs if is_same is same]
        assert count == len(values)
        assert mean == (pytest.approx(sum(values) / len(values)) if values else None)


def test_nothing_to_compare_is_no_likeness() -> None:
    assert echo({}).within is None and echo({}).across is None


@pytest.mark.skipif(not HUMAN_CAPTIONS, reason="LQTSE_HUMAN_CAPTIONS names no CSV of captions")
def test_the_known_figures_of_audiocaps_come_out() -> None:
    with Path(HUMAN_CAPTIONS or "").open(encoding="utf-8", newline="") as file:
        said = [words(row["caption"]) for row in csv.DictReader(file)]
    if len(said) < 49_000:
        pytest.skip("the figures are those of AudioCaps' training set")
    drawn = np.random.default_rng(0).choice(len(said), 10_000, replace=False)
    sample = [said[row] for row in drawn]
    # Measured by others on a copy with some 500 rows less, and on another sample of 10,000.
    assert len({*said}) / len(said) == pytest.approx(0.917, abs=0.002)
    assert np.mean([len(sentence) for sentence in said]) == pytest.approx(8.70, abs=0.03)
    assert distinct(sample, 1) == pytest.approx(0.031, abs=0.001)
    assert distinct(sample, 2) == pytest.approx(0.247, abs=0.004)
    assert distinct(sample, 3) == pytest.approx(0.531, abs=0.006)
