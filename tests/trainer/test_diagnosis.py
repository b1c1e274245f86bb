"""The gap and the hubs, against numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from cache_store.index.exact import ExactIndex
from tests.trainer.conditioning.oracle import random_unit
from trainer.diagnosis import diagnose


def test_it_agrees_with_numpy_and_scipy() -> None:
    audio, matrix = random_unit(0, 200, 8), random_unit(1, 60, 8)
    scores, rows = ExactIndex(matrix).search(audio, 5)
    found = diagnose(audio, matrix, rows, scores)
    a, t = audio.double().numpy(), matrix.double().numpy()
    cosines = a @ t.T
    nearest = cosines.argmax(axis=1)
    counts = np.bincount(np.argsort(-cosines, axis=1)[:, :5].ravel(), minlength=60)
    assert found.gap == pytest.approx(np.linalg.norm(a.mean(0) - t.mean(0)), abs=1e-6)
    assert found.nearest == pytest.approx(cosines.max(axis=1).mean(), abs=1e-6)
    assert found.used == len(set(nearest))
    assert found.hub == np.bincount(nearest).max()
    assert found.skewness == pytest.approx(scipy.stats.skew(counts), abs=1e-9)
    assert (found.clips, found.captions) == (200, 60)
    assert list(found.to_dict()) == [
        *("gap", "nearest", "used", "hub", "skewness", "clips", "captions")
    ]


def test_a_hub_is_warned_about_and_a_healthy_cache_is_not() -> None:
    audio = random_unit(0, 100, 8)
    matrix = random_unit(1, 100, 8)
    scores, rows = ExactIndex(matrix).search(audio, 1)
    assert list(diagnose(audio, matrix, rows, scores).warnings()) == []
    hubs = torch.zeros_like(rows)
    hub, few = diagnose(audio, matrix, hubs, scores).warnings()
    assert "one caption is the nearest for 100% of the clips" in hub
    assert "only 1 of 100 captions" in few


def test_removed_rows_are_not_counted() -> None:
    audio, matrix = random_unit(0, 50, 8), random_unit(1, 30, 8)
    gone = torch.arange(10)
    index = ExactIndex(matrix, excluded=gone)
    scores, rows = index.search(audio, 3)
    found = diagnose(audio, matrix, rows, scores, index.live)
    scores, rows = ExactIndex(matrix[10:]).search(audio, 3)
    expected = diagnose(audio, matrix[10:], rows, scores)
    assert found.captions == 20
    for name, value in expected.to_dict().items():
        assert found.to_dict()[name] == pytest.approx(value, abs=1e-6)


def test_all_captions_used_alike_have_no_skewness() -> None:
    matrix = random_unit(1, 10, 8)
    scores, rows = ExactIndex(matrix).search(matrix, 1)
    assert diagnose(matrix, matrix, rows, scores).skewness == 0.0
