from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.held_out import HeldOutMixture
from trainer.leak import LOWEST, absent_clips, level_db


def plans(*pairs: tuple[int, int]) -> list[HeldOutMixture]:
    return [HeldOutMixture(target, other, 0, 0, 100, 0.0) for target, other in pairs]


def test_a_level_is_the_ratio_of_energies() -> None:
    mixture = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    estimate = mixture * torch.tensor([[1.0], [0.1], [0.0]])
    assert level_db(estimate, mixture).tolist() == pytest.approx([0, -20, LOWEST], abs=1e-4)
    assert torch.isfinite(level_db(estimate, torch.zeros_like(mixture))).all()


@given(st.lists(st.integers(0, 4), min_size=6, max_size=20), st.integers(0, 9))
def test_an_absent_query_is_of_neither_kind(kinds: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [tuple(int(row) for row in rng.integers(len(kinds), size=2)) for _ in range(5)]
    queries = [f"sound {kind}" for kind in kinds]
    rows = absent_clips(plans(*pairs), kinds, queries, seed)
    if rows is None:
        assert any({kinds[row] for row in pair} == set(kinds) for pair in pairs)
        return
    for pair, row in zip(pairs, rows, strict=True):
        assert kinds[row] not in {kinds[one] for one in pair}


def test_draws_depend_on_the_seed_and_the_number_alone() -> None:
    kinds, pairs = [*range(40)], [(row, row + 1) for row in range(20)]
    queries = [str(kind) for kind in kinds]
    drawn = absent_clips(plans(*pairs), kinds, queries, 0)
    assert drawn is not None
    assert absent_clips(plans(*pairs[:5]), kinds, queries, 0) == drawn[:5]
    assert absent_clips(plans(*pairs), kinds, queries, 1) != drawn


def test_the_same_words_are_not_absent_though_the_label_differs() -> None:
    kinds, queries = ["a", "b", "c", "d"], ["rain", "dog", "rain", "bell"]
    for seed in range(8):
        assert absent_clips(plans((0, 1)), kinds, queries, seed) == [3]


def test_without_kinds_nothing_is_known_to_be_absent() -> None:
    assert absent_clips(plans((0, 1)), [None] * 3, ["x", "y", "z"], 0) is None
    assert absent_clips(plans((0, 1)), ["a", "b", "b"], ["x", "y", "z"], 0) is None
