"""Figures by their formulas, intervals by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.calibration_error import bootstrap_auroc, errors


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=10, max_size=60).filter(
        lambda rows: len({present for _, present in rows}) == 2
    )
)
def test_the_errors_are_those_of_the_formulas(rows: list[tuple[float, bool]]) -> None:
    p, there = (np.array(column) for column in zip(*rows, strict=True))
    found = errors(p, there)
    assert found["brier"] == pytest.approx(sum((a - b) ** 2 for a, b in rows) / len(rows))
    assert found["accuracy"] == pytest.approx(sum((a >= 0.5) == b for a, b in rows) / len(rows))
    pairs = [(a, b) for a in p[there] for b in p[~there]]
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs)
    assert found["auroc"] == pytest.approx(wins / len(pairs))
    assert 0 <= found["calibration_error"] <= 1
    assert found["judgements"] == len(rows)


def test_probabilities_that_are_frequencies_have_no_calibration_error() -> None:
    p = np.repeat([0.0, 0.25, 0.75, 1.0], 100)
    there = np.concatenate([np.arange(100) % 4 < share for share in (0, 1, 3, 4)])
    # Ten bins of forty: each holds as many present ones as its probability says.
    assert errors(p, there)["calibration_error"] == pytest.approx(0, abs=0.03)
    assert errors(1 - p, there)["calibration_error"] == pytest.approx(0.75, abs=0.03)


def test_the_interval_of_the_area_covers_the_true_one() -> None:
    # Normal scores a distance d apart have an area of Phi(d / sqrt 2): 0.7602 at d = 1.
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(60):
        present = np.arange(160) % 2 == 0
        scores = rng.standard_normal(160) + present
        found = bootstrap_auroc(scores, present, range(160), seed=trial, resamples=400)
        hits += found.low <= 0.7602 <= found.high
    assert hits >= 51  # of 57 expected; fewer come once in 200 times


def test_judgements_of_one_recording_are_drawn_together() -> None:
    rng = np.random.default_rng(1)
    present = np.tile([True, False], 20)
    scores = rng.standard_normal(40) + present
    alone = bootstrap_auroc(scores, present, range(40))
    copies = bootstrap_auroc(np.tile(scores, 9), np.tile(present, 9), [*range(40)] * 9)
    assert (copies.mean, copies.low, copies.high) == pytest.approx(
        (alone.mean, alone.low, alone.high)
    )
    believed = bootstrap_auroc(np.tile(scores, 9), np.tile(present, 9), range(360))
    assert believed.high - believed.low < 0.5 * (alone.high - alone.low)


def test_resamples_of_one_kind_alone_are_left_out() -> None:
    found = bootstrap_auroc(np.array([0.2, 0.9]), np.array([False, True]), [0, 1])
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)


def test_figures_come_with_the_ends_of_their_intervals() -> None:
    rng = np.random.default_rng(2)
    present = rng.random(200) < 0.5
    p = np.clip(rng.normal(0.5, 0.2, 200) + 0.2 * (present - 0.5), 0, 1)
    found = errors(p, present, [row // 4 for row in range(200)])
    for name in ("brier", "auroc", "accuracy"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert "calibration_error_low" not in found
