"""Crops hold sound, wherever the silence is."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.activity import active_blocks, block_length, block_powers, place

RATE = 1000  # blocks of 50 samples
UNIT = st.floats(0, 1, exclude_max=True)


def test_powers_are_mean_squares_of_blocks() -> None:
    samples = np.arange(120, dtype=np.float32)
    expected = [np.mean(samples[at : at + 50] ** 2.0) for at in (0, 50, 100)]
    np.testing.assert_allclose(block_powers(samples, RATE), expected, rtol=1e-12)
    assert block_powers(samples, RATE).shape == (3,)
    assert block_powers(np.zeros(0, np.float32), RATE).shape == (0,)
    assert block_length(RATE) == 50


def test_activity_is_relative_to_the_loudest_block() -> None:
    powers = np.array([1e-6, 0.99e-4, 1.01e-4, 1.0, 0.0])
    assert active_blocks(powers).tolist() == [False, False, True, True, False]
    assert active_blocks(powers * 1e-9).tolist() == [False, False, True, True, False]
    assert active_blocks(np.zeros(3)).tolist() == [False] * 3


@given(
    active=st.lists(st.booleans(), min_size=1, max_size=30).filter(any),
    tail=st.integers(1, 50),
    crop=st.integers(50, 2000),
    u=UNIT,
    v=UNIT,
)
def test_a_crop_holds_a_whole_active_block(
    active: list[bool], tail: int, crop: int, u: float, v: float
) -> None:
    samples = (len(active) - 1) * 50 + tail
    start = place(np.array(active), samples, crop, 50, u, v)
    whole = [
        start <= at * 50 and min((at + 1) * 50, samples) <= start + crop
        for at, sound in enumerate(active)
        if sound
    ]
    assert any(whole)
    # inside the recording; or, if that is shorter, the recording inside the crop
    assert min(0, samples - crop) <= start <= max(0, samples - crop)


def test_a_crop_may_start_anywhere_that_keeps_the_block() -> None:
    active = np.zeros(20, bool)
    active[10] = True  # samples 500 to 550 of 1000
    starts = {place(active, 1000, 200, 50, 0.5, v) for v in np.linspace(0, 0.9999, 500)}
    assert starts == set(range(350, 501))


def test_every_active_block_is_picked() -> None:
    active = np.array([True, False, True, True])
    picked = {place(active, 200, 50, 50, u, 0.0) for u in np.linspace(0, 0.9999, 50)}
    assert picked == {0, 100, 150}
