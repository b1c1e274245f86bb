"""Changes are drawn within their limits, and do to a sound what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.augment import Augmentation, Change

RATE, SAMPLES = 8000, 4000


def tone(hertz: float, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / RATE).astype(np.float32)


def strongest(wave: np.ndarray) -> float:
    """The loudest frequency, in Hz, to a bin of 2 Hz."""
    return float(np.abs(np.fft.rfft(wave)).argmax() * RATE / len(wave))


def drawn(augmentation: Augmentation, times: int = 400) -> list[tuple[float, tuple[Change, ...]]]:
    return [augmentation.draw(2, RATE, np.random.default_rng(seed)) for seed in range(times)]


def test_nothing_changes_by_default() -> None:
    assert not Augmentation()
    assert drawn(Augmentation(), 20) == [(0.0, (Change(), Change()))] * 20
    wave = tone(500, SAMPLES)
    assert Change().needed(SAMPLES) == SAMPLES
    np.testing.assert_array_equal(Change().apply(wave, SAMPLES, RATE), wave)


@pytest.mark.parametrize("percent", [50, 80, 97, 103, 150])
def test_speed_moves_the_pitch_with_it(percent: int) -> None:
    change = Change(percent=percent)
    found = change.apply(tone(600, change.needed(SAMPLES)), SAMPLES, RATE)
    assert found.shape == (SAMPLES,)
    assert found.dtype == np.float32
    assert strongest(found) == pytest.approx(6 * percent, abs=2)
    # A sine at the new speed; the ends, where the filter runs out of samples, left aside
    expected = tone(6 * percent, SAMPLES)
    np.testing.assert_allclose(found[300:-300], expected[300:-300], atol=1e-3)


@given(percent=st.integers(50, 150), samples=st.integers(400, 2000), flip=st.booleans())
def test_any_change_gives_as_many_samples_as_were_asked_for(
    percent: int, samples: int, flip: bool
) -> None:
    change = Change(flip, percent, 900.0)
    crop = np.ones(change.needed(samples), np.float32)
    found = change.apply(crop, samples, RATE)
    assert found.shape == (samples,)
    assert found.dtype == np.float32
    # A constant passes a low-pass, once that has swung in, and has the sign of its polarity
    middle = found[len(found) // 2]
    assert middle == pytest.approx(-1.0 if flip else 1.0, abs=2e-2)


def test_the_low_pass_is_3_db_down_at_its_cut_off_and_24_db_an_octave_on() -> None:
    change = Change(cutoff=500.0)
    for hertz, gain in ((100, 0.0), (500, -3.01), (1000, -24.6)):
        found = change.apply(tone(hertz, SAMPLES), SAMPLES, RATE)[SAMPLES // 2 :]
        level = 10 * np.log10(2 * np.mean(found.astype(np.float64) ** 2))
        # The bilinear transform bends the slope by half a dB at 1 kHz of 4
        assert level == pytest.approx(gain, abs=0.1 if hertz < 1000 else 1.5)


def test_draws_fill_their_limits_and_stay_inside() -> None:
    found = drawn(Augmentation(gain=6.0, polarity=True, speed=0.1, lowpass=1000.0))
    gains = np.array([gain for gain, _ in found])
    assert -6 <= gains.min() < -5.5
    assert 5.5 < gains.max() <= 6
    changes = [change for _, both in found for change in both]
    assert {change.percent for change in changes} == set(range(90, 111))
    flipped = np.mean([change.flip for change in changes])
    assert flipped == pytest.approx(0.5, abs=0.07)  # 800 draws: sd 0.018
    cutoffs = np.array([change.cutoff for change in changes if change.cutoff])
    assert len(cutoffs) / len(changes) == pytest.approx(0.5, abs=0.07)
    assert 1000 <= cutoffs.min() < 1050
    assert 3700 < cutoffs.max() < 4000
    # Half of them below the geometric mean of the limits, as a logarithmic scale has it
    assert np.mean(cutoffs < np.sqrt(1000 * 3920)) == pytest.approx(0.5, abs=0.1)


def test_one_setting_does_not_move_the_numbers_of_another() -> None:
    alone, both = drawn(Augmentation(speed=0.1)), drawn(Augmentation(speed=0.1, polarity=True))
    for (_, some), (_, more) in zip(alone, both, strict=True):
        assert [change.percent for change in some] == [change.percent for change in more]


def test_a_cut_off_above_what_the_rate_holds_is_left_out() -> None:
    assert all(
        change.cutoff == 0 for _, both in drawn(Augmentation(lowpass=3990.0), 50) for change in both
    )
