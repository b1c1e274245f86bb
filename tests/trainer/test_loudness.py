"""Loudness as BS.1770 defines it, for crops however faint or short."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import MissingDependencyError
from trainer.loudness import Loudness
from trainer.mixing import rms

RATE = 48_000


def tone(hertz: float, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.1 * np.sqrt(2) * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def test_a_tone_of_997_hz_is_as_loud_as_the_standard_says() -> None:
    # BS.1770: a sine of 997 Hz at full scale in one channel reads -3.01 LKFS, the dB of its rms;
    # meters may be 0.1 off.
    level = Loudness(RATE, 1.0)(tone(997))
    assert decibels(level) == pytest.approx(-20.0, abs=0.1)


@pytest.mark.parametrize("hertz", [40, 100, 1000, 4000])
def test_low_tones_count_less_and_high_ones_more(hertz: float) -> None:
    # The response of the standard's two filters at 48 kHz, from their coefficients
    shelf = response((1.53512485958697, -2.69169618940638, 1.19839281085285),
                     (1.0, -1.69065929318241, 0.73248077421585), hertz)  # fmt: skip
    highpass = response((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621), hertz)
    expected = decibels(abs(shelf * highpass))
    # -0.691 dB is the standard's offset; 0.1 dB is what the onset of the filters takes away
    level = Loudness(RATE, 2.0)(tone(hertz, 2.0))
    assert decibels(level / 0.1) == pytest.approx(expected - 0.691, abs=0.1)


def response(b: tuple[float, ...], a: tuple[float, ...], hertz: float) -> complex:
    z = np.exp(-2j * np.pi * hertz / RATE * np.arange(3))
    return complex((np.array(b) @ z) / (np.array(a) @ z))


@given(gain=st.floats(1e-6, 1e3))
def test_twice_the_samples_are_twice_as_loud(gain: float) -> None:
    measure, wave = Loudness(8000, 0.5), np.random.default_rng(0).normal(size=4000)
    assert measure(gain * wave) == pytest.approx(gain * measure(wave), rel=1e-9)


def test_crops_shorter_than_a_block_are_measured() -> None:
    whole, short = Loudness(RATE, 1.0)(tone(997)), Loudness(RATE, 0.1)(tone(997, 0.1))
    assert decibels(short / whole) == pytest.approx(0.0, abs=0.2)  # the filters' onset


def test_silence_has_no_level_and_what_nobody_hears_has_its_rms() -> None:
    measure = Loudness(8000, 0.5)
    assert measure(np.zeros(4000, np.float32)) == 0.0
    click = np.zeros(4000, np.float32)
    click[:2] = 1.0
    assert 0 < measure(click) < 1
    rumble = np.sin(2 * np.pi * 0.2 * np.arange(4000) / 8000).astype(np.float32)
    assert 0 < measure(rumble) <= rms(rumble)


def test_it_can_be_sent_to_a_worker() -> None:
    measure, wave = Loudness(8000, 0.5), tone(440, 0.5, 8000)
    assert pickle.loads(pickle.dumps(measure))(wave) == measure(wave)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lqtse\[loudness\]'"):
        Loudness(8000, 1.0)
