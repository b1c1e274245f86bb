"""Waveforms become mono windows of one rate and one length, always the same ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import AudioError, UsageError
from cache_store.spaces.audio import fill, prepare, windows


def sine(hz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def test_a_fitting_waveform_is_not_copied() -> None:
    samples = sine(440, 48_000)
    assert prepare(samples, 48_000, 48_000) is samples


def test_channels_are_averaged() -> None:
    left, right = sine(440, 16_000), sine(300, 16_000)
    mono = prepare(np.stack([left, right]), 16_000, 16_000)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_resampling_keeps_a_tone(rate: int) -> None:
    # The tone at the new rate is known exactly; soxr's edges ring for about a millisecond.
    got = prepare(sine(1_000, rate), rate, 48_000)
    assert abs(len(got) - 48_000) <= 1
    middle = slice(4_800, 43_200)
    np.testing.assert_allclose(got[middle], sine(1_000, 48_000)[middle], atol=2e-3)


def test_a_single_sample_survives_a_lower_rate() -> None:
    assert len(prepare(np.array([0.5]), 48_000, 8_000)) >= 1


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros((2, 0), np.float32), "no samples"),
        (np.zeros((0, 5), np.float32), "no samples"),
        (np.zeros((2, 3, 4), np.float32), r"\[2, 3, 4\]"),
        (np.array([0, np.nan, 0]), "NaN"),
        (np.array([np.inf, -np.inf]), "NaN or infinite"),
        (np.array([[0.0, 1.0], [0.0, np.inf]]), "NaN or infinite"),
        (np.zeros(4, np.int16), "int16"),
        (np.float32(0.0), r"\[T\]"),
    ],
)
def test_a_waveform_that_cannot_be_used_is_named(waveform: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        prepare(waveform, 48_000, 48_000, where="clip 3")
    assert "clip 3" in caught.value.message


def test_a_sample_rate_must_be_positive() -> None:
    with pytest.raises(UsageError, match="sample rate"):
        prepare(np.zeros(4, np.float32), 0, 48_000)


@given(total=st.integers(1, 500), length=st.integers(1, 60))
def test_windows_cover_every_sample_with_the_fewest_windows(total: int, length: int) -> None:
    cut = list(windows(np.arange(total, dtype=np.float32), length))
    assert len(cut) == max(1, -(-total // length))
    assert {len(window) for window in cut} == {min(total, length)}
    assert cut[0][0] == 0
    assert cut[-1][-1] == total - 1
    assert set(np.concatenate(cut)) == set(range(total))


def test_windows_are_evenly_spaced() -> None:
    starts = [int(window[0]) for window in windows(np.arange(25, dtype=np.float32), 10)]
    assert starts == [0, 7, 15]


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("repeatpad", [1, 2, 3, 1, 2, 3, 0, 0]),
        ("repeat", [1, 2, 3, 1, 2, 3, 1, 2]),
        ("pad", [1, 2, 3, 0, 0, 0, 0, 0]),
    ],
)
def test_a_short_window_is_filled(padding: str, expected: list[int]) -> None:
    got = fill(np.array([1, 2, 3], np.float32), 8, padding)
    assert got.tolist() == expected


def test_a_full_window_is_left_alone() -> None:
    samples = np.ones(8, np.float32)
    assert fill(samples, 8, "repeatpad") is samples


def test_an_unknown_padding_is_refused() -> None:
    with pytest.raises(UsageError, match="mirror"):
        fill(np.ones(3, np.float32), 8, "mirror")
