"""What holds for every strategy, whatever its rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import UsageError
from tests.trainer.conditioning.oracle import BruteIndex, random_unit
from trainer.conditioning import STRATEGIES, Strategy, build_strategy, strategy_names

NAMES = sorted(STRATEGIES)
SIZES = {"clips": st.integers(1, 6), "rows": st.integers(1, 12), "dim": st.integers(2, 20)}


def conditions(
    name: str, clips: int, rows: int, dim: int, seed: int = 0, half: bool = False
) -> tuple[Strategy, torch.Tensor]:
    audio, matrix, captions = (
        random_unit(seed + part, n, dim) for part, n in enumerate((clips, rows, clips))
    )
    matrix = matrix.half() if half else matrix
    strategy = build_strategy(name, k=3).fit(audio, matrix)
    found = strategy(
        audio,
        index=BruteIndex(matrix.float()),  # type: ignore[arg-type]
        matrix=matrix,
        captions=captions,
        generator=torch.Generator().manual_seed(seed),
    )
    return strategy, found


@pytest.mark.parametrize("name", NAMES)
@given(half=st.booleans(), seed=st.integers(0, 1000), **SIZES)
def test_conditions_have_unit_norm_and_the_clips_shape(
    name: str, clips: int, rows: int, dim: int, seed: int, half: bool
) -> None:
    _, found = conditions(name, clips, rows, dim, seed, half)
    assert found.shape == (clips, dim)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(clips), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_alone_decides(name: str) -> None:
    strategy, first = conditions(name, 5, 9, 16, seed=1)
    torch.manual_seed(99)
    _, again = conditions(name, 5, 9, 16, seed=1)
    assert torch.equal(first, again)
    audio, matrix = random_unit(1, 5, 16), random_unit(2, 9, 16)
    other = strategy(
        audio,
        index=BruteIndex(matrix),  # type: ignore[arg-type]
        matrix=matrix,
        captions=random_unit(3, 5, 16),
        generator=torch.Generator().manual_seed(7),
    )
    assert torch.equal(first, other) == strategy.deterministic


@pytest.mark.parametrize("name", NAMES)
def test_what_is_needed_is_asked_for(name: str) -> None:
    strategy = build_strategy(name)
    audio = random_unit(0, 2, 4)
    if strategy.needs != {"audio"}:
        with pytest.raises(UsageError, match=f"`{name}` needs a"):
            strategy(audio)
    elif not strategy.deterministic:
        with pytest.raises(UsageError, match="needs a generator"):
            strategy(audio)


def test_names_and_settings() -> None:
    assert set(strategy_names()) == set(STRATEGIES)
    assert all(build_strategy(name).name == name for name in STRATEGIES)
    assert build_strategy("topk-mean", k=7, dropout=0.1).neighbours == 7
    with pytest.raises(UsageError, match=r"expected one of audio, .*found magic"):
        build_strategy("magic")
    with pytest.raises(UsageError, match="no strategy has such a setting"):
        build_strategy("audio", kk=3)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("topk-mean", "k", 0),
        ("softmax", "temperature", 0.0),
        ("noise", "noise_std", -1.0),
        ("noise", "noise_angle", 91.0),
        ("lafite", "noise_share", 1.5),
        ("dropout", "dropout", 1.0),
    ],
)
def test_settings_out_of_range(name: str, option: str, value: float) -> None:
    with pytest.raises(UsageError, match=option):
        build_strategy(name, **{option: value})
