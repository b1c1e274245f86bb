"""Steering away from what is not wanted."""

from __future__ import annotations

import numpy as np
import torch

from tests.trainer.conditioning.oracle import random_unit, unit
from trainer.conditioning import steer_away
from trainer.conditioning.negative import NEGATIVE, negated


def test_it_equals_the_formula() -> None:
    positive, negative = random_unit(0, 3, 8), random_unit(1, 3, 8)
    found = steer_away(positive, negative, 0.7)
    expected = [
        unit(1.7 * p - 0.7 * n)
        for p, n in zip(positive.double().numpy(), negative.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_the_result_is_less_like_the_negative() -> None:
    positive, negative = random_unit(0, 50, 8), random_unit(1, 50, 8)
    before = (positive * negative).sum(dim=1)
    after = (steer_away(positive, negative) * negative).sum(dim=1)
    assert bool((after < before).all())
    assert torch.equal(steer_away(positive, negative, 0.0), steer_away(positive, -negative, 0.0))


def test_both_go_to_a_separator_that_was_trained_with_both_and_to_no_other() -> None:
    positive, negative = random_unit(0, 3, 8), random_unit(1, 3, 8)
    both = negated(positive, 2 * negative, 0.7, takes_negative=True)
    torch.testing.assert_close(both, torch.cat([positive, negative], dim=1))
    for trained, takes, factor in (
        (0.7, False, 0.7),
        (0.0, False, NEGATIVE),
        (0.0, True, NEGATIVE),
    ):
        found = negated(positive, negative, trained, takes_negative=takes)
        assert torch.equal(found, steer_away(positive, negative, factor))
