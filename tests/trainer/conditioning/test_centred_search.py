"""Strategies that search with both clouds centred, and those that do not."""

from __future__ import annotations

import pytest
import torch

from cache_store.errors import UsageError
from cache_store.index.centring import CentredIndex, mean_of
from cache_store.index.exact import ExactIndex
from tests.trainer.conditioning.oracle import random_unit
from trainer.conditioning import Conditioner, build_strategy

# Two clouds that lie apart: a gap.
AUDIO = torch.nn.functional.normalize(random_unit(0, 30, 8) + 2.0 * random_unit(7, 1, 8), dim=1)
TEXTS = torch.nn.functional.normalize(random_unit(1, 50, 8) + 2.0 * random_unit(8, 1, 8), dim=1)


def test_a_condition_is_made_of_the_rows_as_they_are() -> None:
    made = Conditioner(
        build_strategy("top1", centred=True), AUDIO, index=ExactIndex(TEXTS), matrix=TEXTS
    )
    a, t = AUDIO.double() - AUDIO.double().mean(dim=0), TEXTS.double() - TEXTS.double().mean(dim=0)
    cosines = torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(t, dim=1).T
    torch.testing.assert_close(made.table, TEXTS[cosines.argmax(dim=1)])


def test_a_plain_search_does_not_pass_for_a_centred_one() -> None:
    index = ExactIndex(TEXTS)
    with pytest.raises(UsageError, match="expected a centred search"):
        build_strategy("top1", centred=True)(AUDIO, index=index, matrix=TEXTS)
    with pytest.raises(UsageError, match="expected a plain search"):
        build_strategy("top1")(AUDIO, index=CentredIndex(index, mean_of(AUDIO)), matrix=TEXTS)
