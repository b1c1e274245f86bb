from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.spaces import load_space
from cache_store.spaces.tiny.sounds import synthesise
from trainer.confidence import KEPT, Evidence, Verdict
from trainer.separation import Piece

RATE = 16_000
NO_TEXT = np.zeros(1, np.float32)


def gathered(
    mixture: np.ndarray, estimates: np.ndarray, window: int, cuts: list[int], sound: bool = False
) -> Evidence:
    evidence = Evidence(len(estimates), window, sound)
    edges = [0, *sorted(cuts), mixture.shape[1]]
    for start, end in pairwise(edges):
        evidence.add(Piece(mixture[:, start:end], estimates[:, :, start:end]))
    return evidence


def deaf(evidence: Evidence, queries: int) -> list[Verdict]:
    return evidence.verdicts([NO_TEXT] * queries, RATE, None, None)


@given(cuts=st.lists(st.integers(0, 5000), max_size=6), window=st.integers(1, 6000))
def test_how_the_recording_came_in_pieces_does_not_matter(cuts: list[int], window: int) -> None:
    rng = np.random.default_rng(0)
    mixture = rng.normal(size=(2, 5000)).astype(np.float32)
    estimates = rng.normal(size=(2, 2, 5000)).astype(np.float32) * 0.3
    whole = deaf(gathered(mixture, estimates, window, []), 2)
    parts = deaf(gathered(mixture, estimates, window, cuts), 2)
    for one, other in zip(whole, parts, strict=True):
        assert other.energy_share == pytest.approx(one.energy_share, rel=1e-9)
        assert other.local_share_db == pytest.approx(one.local_share_db, abs=1e-6)
    expected = (
        np.square(estimates, dtype=np.float64).sum((1, 2))
        / np.square(mixture, dtype=np.float64).sum()
    )
    np.testing.assert_allclose([one.energy_share for one in parts], expected, rtol=1e-9)


def test_a_second_of_an_hour_counts_where_it_is() -> None:
    rng = np.random.default_rng(0)
    mixture = rng.normal(size=(1, 200 * 100)).astype(np.float32)
    estimate = np.zeros((1, 1, 200 * 100), np.float32)
    estimate[0, :, 5000:5100] = mixture[:, 5000:5100]
    (verdict,) = deaf(gathered(mixture, estimate, 100, []), 1)
    assert verdict.energy_share == pytest.approx(1 / 200, rel=0.3)
    assert verdict.local_share_db == pytest.approx(0.0, abs=0.01)


def test_silence_has_the_least_share_and_no_error() -> None:
    nothing = np.zeros((1, 1000), np.float32)
    (verdict,) = deaf(gathered(nothing, nothing[None], 300, []), 1)
    assert verdict.energy_share == 0
    assert verdict.local_share_db == pytest.approx(-80)


def test_scores_are_cosines_of_the_windows_that_hold_the_estimate() -> None:
    space, rng = load_space("tiny"), np.random.default_rng(0)
    dog, rain = (
        synthesise(kind, rng, seconds=1.0, sample_rate=RATE).astype(np.float32)
        for kind in ("dog", "rain")
    )
    silence = np.zeros_like(dog)
    mixture = np.concatenate([silence, dog + 0.3 * rain, silence])[None]
    estimate = np.concatenate([silence, dog, silence])[None, None]
    texts = list(space.embed_text(["a dog barking", "rain falling"]))
    evidence = gathered(mixture, np.repeat(estimate, 2, axis=0), RATE, [], sound=True)
    found = evidence.verdicts(texts, RATE, space, None)
    e, m = space.embed_audio([dog, dog + 0.3 * rain], RATE).astype(np.float64)
    for verdict, text in zip(found, texts, strict=True):
        # The windows of silence have a weight of 1e-12 of the energy.
        assert verdict.clap_score == pytest.approx(float(e @ text), abs=1e-4)
        assert verdict.clap_score_mixture == pytest.approx(float(m @ text), abs=1e-4)
    assert found[0].clap_score is not None and found[1].clap_score is not None
    assert found[0].clap_score > found[1].clap_score


def test_as_many_windows_are_kept_as_promised() -> None:
    rng = np.random.default_rng(0)
    mixture = rng.normal(size=(1, 100 * 50)).astype(np.float32)
    estimate = (mixture * np.repeat(np.linspace(0.1, 1, 50), 100)).astype(np.float32)[None]
    (verdict,) = deaf(gathered(mixture, estimate, 100, [700]), 1)
    parts = np.square(estimate[0, 0].reshape(50, 100), dtype=np.float64).sum(axis=1)
    of = np.square(mixture.reshape(50, 100), dtype=np.float64).sum(axis=1)
    kept = np.argsort(parts)[-KEPT:]
    weights = parts[kept] / parts[kept].sum()
    expected = 10 * np.log10(weights @ (parts[kept] / of[kept]))
    assert verdict.local_share_db == pytest.approx(expected, abs=1e-6)
