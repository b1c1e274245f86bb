"""Maximal marginal relevance, against one loop a pick."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_store.errors import UsageError
from cache_store.index.exact import ExactIndex
from tests.trainer.conditioning.oracle import random_unit
from trainer.conditioning import build_strategy
from trainer.conditioning.base import Neighbours
from trainer.conditioning.diversify import diversify


def slow(vectors: np.ndarray, scores: np.ndarray, k: int, diversity: float) -> list[int]:
    picked: list[int] = []
    while len(picked) < min(k, len(scores)):
        best, pick = -np.inf, -1
        for row in range(len(scores)):
            if row in picked:
                continue
            twin = max((float(vectors[row] @ vectors[other]) for other in picked), default=0.0)
            gain = (1 - diversity) * scores[row] - diversity * twin
            if gain > best:
                best, pick = gain, row
        picked.append(pick)
    return picked


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    pool=st.integers(1, 12),
    k=st.integers(1, 14),
    diversity=st.floats(0.0, 0.95),
)
def test_it_picks_what_the_definition_says(seed: int, pool: int, k: int, diversity: float) -> None:
    vectors = random_unit(seed, 3 * pool, 5).reshape(3, pool, 5)
    scores = random_unit(seed + 1, 3, pool).sort(dim=1, descending=True).values
    found = diversify(Neighbours(vectors, scores), k, diversity)
    assert found.vectors.shape == (3, min(k, pool), 5)
    assert found.scores.shape == (3, min(k, pool))
    for clip in range(3):
        rows = slow(vectors[clip].double().numpy(), scores[clip].double().numpy(), k, diversity)
        torch.testing.assert_close(found.vectors[clip], vectors[clip, rows])
        torch.testing.assert_close(found.scores[clip], scores[clip, rows])
    assert torch.equal(found.vectors[:, 0], vectors[:, 0])


def test_near_duplicates_do_not_fill_the_neighbours() -> None:
    clip = random_unit(0, 1, 16)
    phrase, other, third = random_unit(1, 3, 16)
    copies = phrase + 0.01 * random_unit(2, 20, 16)
    base = torch.cat([copies, other[None], third[None]]) + 0.8 * clip
    matrix = torch.nn.functional.normalize(base - torch.tensor([[0.0] * 16]), dim=1)
    matrix[:20] = torch.nn.functional.normalize(matrix[:20] + 0.2 * clip, dim=1)
    index = ExactIndex(matrix)
    plain = build_strategy("topk-mean", k=3)(clip, index=index, matrix=matrix)
    diverse = build_strategy("topk-mean", k=3, diversity=0.5)(clip, index=index, matrix=matrix)
    twin = matrix[:20].mean(0) / matrix[:20].mean(0).norm()
    assert float(plain[0] @ twin) > 0.99
    assert float(diverse[0] @ twin) < 0.95
    assert float(diverse.norm()) == pytest.approx(1.0, abs=1e-6)


def test_the_weight_has_bounds() -> None:
    with pytest.raises(UsageError, match="`diversity`"):
        build_strategy("sample", diversity=1.0)
