from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.grow.reference import centred, left_out_cosines, make_reference


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def clouds(
    seed: int = 0, concepts: int = 5, count: int = 4, spread: float = 0.1
) -> NDArray[np.float32]:
    """Wordings of concepts that lie about one point each, all of them off the origin."""
    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((concepts, 1, 16)) + 2.0
    return unit(middles + spread * rng.standard_normal((concepts, count, 16)))


def test_the_left_out_cosine_is_that_of_a_wording_and_the_mean_of_the_others() -> None:
    words = clouds(concepts=3)
    found = left_out_cosines(words)
    assert found.shape == (3, 4)
    for concept in range(3):
        for one in range(4):
            others = np.delete(words[concept], one, axis=0).mean(axis=0, dtype=np.float64)
            expected = words[concept, one] @ others / np.linalg.norm(others)
            assert found[concept, one] == pytest.approx(expected, abs=1e-6)  # float32 sums


def test_shapes_norms_and_the_quartile() -> None:
    words, calibration = clouds(), clouds(seed=1, concepts=30)
    made = make_reference(words, calibration)
    assert made.wordings.shape == (5, 4, 16)
    assert made.centroids.shape == (5, 16)
    every = np.concatenate([words, calibration]).reshape(-1, 16)
    assert made.centre == pytest.approx(every.mean(axis=0), abs=1e-6)
    assert np.linalg.norm(made.centroids, axis=1) == pytest.approx(1.0, abs=1e-6)
    cosines = left_out_cosines(centred(calibration, made.centre))
    assert (cosines >= made.floor).mean() == pytest.approx(0.75, abs=0.01)


def test_captions_are_about_the_concept_that_they_lie_near() -> None:
    words = clouds(count=8)
    made = make_reference(words[:, :4], words[:, :4])
    about = made.about(words[:, 4:].reshape(-1, 16))
    right = np.repeat(np.arange(5), 4)
    assert set(about.tolist()) <= {*range(5), -1}
    assert ((about == right) | (about == -1)).all(), "never about another one"
    assert (about == right).mean() > 0.4


def test_what_lies_near_nothing_is_about_nothing() -> None:
    words = clouds()
    made = make_reference(words, words)
    elsewhere = unit(np.random.default_rng(5).standard_normal((20, 16)) - 2.0)
    assert (made.about(elsewhere) == -1).all()
