"""Conditions of a whole table: the strategy's own, with the search done once."""

from __future__ import annotations

import pytest
import torch

from cache_store.errors import UsageError
from tests.trainer.conditioning.oracle import BruteIndex, random_unit
from trainer.conditioning import STRATEGIES, Conditioner, build_strategy, conditioner

AUDIO, MATRIX, CAPTIONS = random_unit(0, 23, 8), random_unit(1, 40, 8), random_unit(2, 23, 8)
CLIPS = torch.tensor([5, 0, 22, 5])


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_it_gives_what_the_strategy_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditioner, "_BLOCK", 7)
    index = BruteIndex(MATRIX)
    made = Conditioner(
        build_strategy(name, k=3),
        AUDIO,
        index=index,  # type: ignore[arg-type]
        matrix=MATRIX,
        captions=CAPTIONS,
    )
    strategy = build_strategy(name, k=3).fit(AUDIO, MATRIX)
    searches = index.searches
    assert searches == (1 if strategy.neighbours else 0)
    expected = strategy(
        AUDIO[CLIPS],
        index=BruteIndex(MATRIX),  # type: ignore[arg-type]
        matrix=MATRIX,
        captions=CAPTIONS[CLIPS],
        generator=torch.Generator().manual_seed(4),
    )
    found = made(CLIPS, torch.Generator().manual_seed(4))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert index.searches == searches  # a step does not search
    assert (made.table is not None) == strategy.deterministic
    assert len(made) == 23


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_parts_of_clips_are_searched_for_anew(name: str) -> None:
    index = BruteIndex(MATRIX)
    made = Conditioner(
        build_strategy(name, k=3),
        AUDIO,
        index=index,  # type: ignore[arg-type]
        matrix=MATRIX,
        captions=CAPTIONS,
    )
    parts = random_unit(7, len(CLIPS), 8)
    expected = build_strategy(name, k=3).fit(AUDIO, MATRIX)(
        parts,
        index=BruteIndex(MATRIX),  # type: ignore[arg-type]
        matrix=MATRIX,
        captions=CAPTIONS[CLIPS],
        generator=torch.Generator().manual_seed(4),
    )
    found = made.live(parts, CLIPS, torch.Generator().manual_seed(4))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    whole = made.live(AUDIO[CLIPS], CLIPS, torch.Generator().manual_seed(4))
    table = made(CLIPS, torch.Generator().manual_seed(4))
    torch.testing.assert_close(whole, table, atol=1e-6, rtol=0)


def test_half_precision_rows_and_a_small_cache() -> None:
    matrix = MATRIX[:2].half()
    index = BruteIndex(matrix.float())
    made = Conditioner(
        build_strategy("topk-mean", k=9),
        AUDIO,
        index=index,  # type: ignore[arg-type]
        matrix=matrix,
    )
    assert made.rows is not None
    assert made.rows.shape == (23, 2)
    assert made(CLIPS).dtype == torch.float32


def test_what_is_missing_is_told_before_anything_is_done() -> None:
    with pytest.raises(UsageError, match="`top1` needs a cache"):
        Conditioner(build_strategy("top1"), AUDIO)
    with pytest.raises(UsageError, match="`caption` needs a caption"):
        Conditioner(build_strategy("caption"), AUDIO)
