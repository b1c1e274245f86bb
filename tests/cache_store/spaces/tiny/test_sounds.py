"""Every kind of sound: form, determinism, variety, disjoint ranges, where its energy lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cache_store.errors import UsageError
from cache_store.spaces.tiny.ranges import BANDS, SPLITS, Draw, position_of
from cache_store.spaces.tiny.sounds import (
    HELD_OUT_KINDS,
    KINDS,
    TRAINED_KINDS,
    phrases,
    render,
    synthesise,
)


def clip(kind: str, seed: int = 0, **options: object) -> NDArray[np.float32]:
    return synthesise(kind, np.random.default_rng(seed), **options)  # type: ignore[arg-type]


def centroid(signal: NDArray[np.float32], rate: int = 16000) -> float:
    """The mean frequency of a signal's power, in Hz."""
    power = np.abs(np.fft.rfft(signal)) ** 2
    return float(np.sum(power * np.fft.rfftfreq(signal.size, 1 / rate)) / np.sum(power))


def test_there_are_enough_kinds_and_some_are_never_trained() -> None:
    assert len(TRAINED_KINDS) >= 28
    assert len(HELD_OUT_KINDS) >= 5
    assert KINDS == TRAINED_KINDS + HELD_OUT_KINDS
    assert len(set(KINDS)) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_has_its_length_and_a_sane_level(kind: str) -> None:
    for index, split in enumerate(SPLITS):
        wave = clip(kind, index, split=split, seconds=1.5)
        assert wave.dtype == np.float32
        assert wave.shape == (24000,)
        assert np.isfinite(wave).all()
        assert 0.19 <= np.abs(wave).max() <= 0.96


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_gives_the_same_clip_and_another_one_another(kind: str) -> None:
    first, again, other = (
        clip(kind, 1, seconds=1),
        clip(kind, 1, seconds=1),
        clip(kind, 2, seconds=1),
    )
    assert np.array_equal(first, again)
    # Even up to their level, two clips are not alike.
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.9


@given(
    st.sampled_from(KINDS),
    st.integers(0, 2**31),
    st.sampled_from([8000, 11025, 22050, 44100]),
    st.floats(0.1, 1.2),
)
@settings(max_examples=60)
def test_any_rate_and_length_works(kind: str, seed: int, rate: int, seconds: float) -> None:
    wave = clip(kind, seed, seconds=seconds, sample_rate=rate)
    assert wave.shape == (round(seconds * rate),)
    assert np.isfinite(wave).all()


@given(st.sampled_from(KINDS), st.integers(0, 2**31))
@settings(max_examples=80)
def test_parameter_ranges_of_the_splits_are_disjoint(kind: str, seed: int) -> None:
    """Each drawn number lies in a band that its split alone owns."""
    for split in SPLITS:
        draw = Draw(np.random.default_rng(seed), split)
        render(kind, draw, seconds=1.0)
        assert len(draw.drawn) >= 4, "a kind needs several random parameters"
        for name, (low, high, values) in draw.drawn.items():
            positions = position_of(np.array(values), low, high)
            for other in SPLITS:
                inside = np.zeros(positions.shape, dtype=bool)
                for start, stop in BANDS[other]:
                    inside |= (positions >= start - 1e-6) & (positions <= stop + 1e-6)
                expected = other == split
                assert inside.all() if expected else not inside.any(), (kind, name, split, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_has_one_range_in_all_clips(kind: str) -> None:
    """A name drawn from two ranges would break the promise that its bands are disjoint."""
    limits: dict[str, tuple[float, float]] = {}
    for seed in range(3):
        seen = _Strict(np.random.default_rng(seed), "train", limits)
        render(kind, seen, seconds=1.0)


class _Strict(Draw):
    """A `Draw` that refuses a second range for a name."""

    def __init__(
        self, rng: np.random.Generator, split: str, limits: dict[str, tuple[float, float]]
    ) -> None:
        super().__init__(rng, split)
        self.limits = limits

    def each(self, name: str, low: float, high: float, count: int) -> NDArray[np.float64]:
        assert low < high
        assert self.limits.setdefault(name, (low, high)) == (low, high), name
        return super().each(name, low, high, count)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("heartbeat", 20, 250),
        ("thunder", 20, 700),
        ("cow", 60, 1100),
        ("whistle", 500, 3500),
        ("cricket", 2500, 6500),
        ("glass", 2000, 7000),
        ("siren", 400, 3000),
    ],
)
def test_the_energy_lies_where_such_a_sound_has_it(kind: str, low: float, high: float) -> None:
    # Bounds from everyday knowledge of the sounds, wider than any parameter range.
    for seed in range(4):
        assert low < centroid(clip(kind, seed)) < high


def test_a_clock_is_regular_and_rain_is_not() -> None:
    def regularity(kind: str) -> float:
        frames = np.abs(clip(kind, 3)).reshape(-1, 160).max(axis=1)  # 10 ms
        frames = frames - frames.mean()
        spectrum = np.abs(np.fft.rfft(frames, 2048)) ** 2
        correlation = np.fft.irfft(spectrum)[:400]
        return float(correlation[15:300].max() / correlation[0])

    assert regularity("clock") > 0.5
    assert regularity("rain") < 0.4


def test_synthesis_is_fast() -> None:
    import time

    begin = time.process_time()
    for kind in KINDS:
        clip(kind)
    # Tens of milliseconds of CPU a clip; the bound leaves room for a slow or busy machine.
    assert (time.process_time() - begin) / len(KINDS) < 0.2


def test_faults_are_told_in_one_line() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match=r"unknown kind of sound.*rain.*found unicorn"):
        synthesise("unicorn", rng)
    with pytest.raises(UsageError, match="unknown kind"):
        phrases("unicorn")
    with pytest.raises(UsageError, match="seconds"):
        synthesise("rain", rng, seconds=0.01)
    with pytest.raises(UsageError, match="sample_rate"):
        synthesise("rain", rng, sample_rate=4000)
    with pytest.raises(UsageError, match="unknown split"):
        synthesise("rain", rng, split="valid")
