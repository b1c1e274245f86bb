from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.models.windows import UNIT, Windows

WINDOWS = Windows(4 * UNIT + 700)


def test_the_longest_window_on_the_grid_is_taken() -> None:
    assert (WINDOWS.length, WINDOWS.hop) == (4 * UNIT, 3 * UNIT)
    assert Windows(80_000).length == 79_872


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 20 * UNIT))
def test_windows_put_together_are_the_recording(samples: int) -> None:
    signal = torch.rand(2, samples, generator=torch.Generator().manual_seed(samples)) + 1
    windows = WINDOWS.cut(signal)
    one = samples <= WINDOWS.most
    assert windows.shape[::2] == (2, samples if one else WINDOWS.length)
    joined = WINDOWS.join(windows, samples)
    assert joined.shape == signal.shape
    # Two weights that add up to one, in float32.
    assert (joined - signal).abs().max() < 1e-6


@pytest.mark.parametrize("where", [0, 5 * UNIT, 9 * UNIT + 17])
def test_a_sample_is_in_no_other_window_than_those_around_it(where: int) -> None:
    signal = torch.zeros(1, 12 * UNIT)
    signal[0, where] = 1
    holding = WINDOWS.cut(signal)[0].any(-1).nonzero().flatten().tolist()
    starts = [index * WINDOWS.hop - UNIT for index in range(len(WINDOWS.cut(signal)[0]))]
    assert holding == [
        index for index, start in enumerate(starts) if start <= where < start + WINDOWS.length
    ]
    assert len(holding) in (1, 2)


def test_a_chunk_on_the_grid_has_the_windows_of_the_whole() -> None:
    signal = torch.randn(1, 15 * UNIT, generator=torch.Generator().manual_seed(0))
    whole = WINDOWS.cut(signal)[0]
    chunk = WINDOWS.cut(signal[:, 2 * WINDOWS.hop : 2 * WINDOWS.hop + 9 * UNIT])[0]
    assert torch.equal(chunk[1:3], whole[3:5])
