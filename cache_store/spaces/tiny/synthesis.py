"""Building blocks of procedural sounds: noise, oscillators, resonances, decays, placing.

Letters: T samples, M modes, E events. Signals are float64 [T]; times are in seconds, frequencies in
Hz. Everything is vectorised over time, so that five seconds cost milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.signal import lfilter

Signal = NDArray[np.floating]

_TABLE = 2048  # samples in one cycle of the wavetable oscillator


def unit(signal: Signal) -> Signal:
    """The signal at root mean square 1 (silence stays silence)."""
    return signal / max(float(np.sqrt(np.mean(signal**2))), 1e-12)


def noise(
    rng: np.random.Generator, n: int, rate: int, low: float, high: float, tilt: float = 0.0
) -> Signal:
    """Gaussian noise of unit power between two frequencies, made in the frequency domain.

    Args:
        rng: Its randomness.
        n: Samples.
        rate: Sampling rate in Hz.
        low: Lower edge in Hz (12 dB an octave below it).
        high: Upper edge in Hz (24 dB an octave above it).
        tilt: Slope of the spectrum in dB an octave.
    """
    size = next_fast_len(max(n, 16), real=True)
    frequency = np.fft.rfftfreq(size, 1 / rate)
    frequency[0] = frequency[1]
    gain = 1 / np.sqrt((1 + (low / frequency) ** 4) * (1 + (frequency / high) ** 8))
    gain *= (frequency / 1000) ** (tilt / 6.02)
    gain[0] = 0.0
    spectrum = gain * (
        rng.standard_normal(frequency.size) + 1j * rng.standard_normal(frequency.size)
    )
    return unit(np.fft.irfft(spectrum, size)[:n])


def wander(rng: np.random.Generator, n: int, rate: int, hz: float) -> Signal:
    """A smooth random curve within [-1, 1] that turns about `hz` times a second."""
    knots = np.clip(rng.standard_normal(int(n / rate * hz) + 3) / 2, -1, 1)
    position = np.arange(n) * (hz / rate) + rng.random()
    index = position.astype(np.int64)
    part = position - index
    part *= part * (3 - 2 * part)
    return knots[index] * (1 - part) + knots[index + 1] * part


def phase_of(frequency: Signal, rate: int) -> Signal:
    """The phase in cycles of a tone whose frequency [T] changes over time."""
    return np.cumsum(frequency) / rate


def sine(frequency: Signal, rate: int) -> Signal:
    """A sine of changing frequency [T]."""
    return np.sin(2 * np.pi * phase_of(frequency, rate))


def buzz(frequency: Signal, rate: int, tilt: float, odd: bool = False) -> Signal:
    """A harmonic tone of changing frequency by wavetable, free of aliases.

    Args:
        frequency: The fundamental [T] in Hz.
        rate: Sampling rate in Hz.
        tilt: Slope of the harmonics in dB an octave, usually negative.
        odd: Odd harmonics only (hollow, like a square wave).
    """
    count = int(np.clip(0.47 * rate / max(float(frequency.max()), 1.0), 1, _TABLE // 4))
    order = np.arange(1, count + 1)
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex128)
    # Quadratic phases spread a cycle's energy over the cycle: less of a click, more of a voice.
    spectrum[1 : count + 1] = order ** (tilt / 6.02) * np.exp(1j * np.pi * order**2 / count)
    if odd:
        spectrum[2::2] = 0
    table = np.fft.irfft(spectrum, _TABLE)
    table = np.append(table, table[0]) / np.sqrt(np.mean(table**2))
    position = (phase_of(frequency, rate) % 1.0) * _TABLE
    index = np.minimum(position.astype(np.int64), _TABLE - 1)
    part = position - index
    return table[index] * (1 - part) + table[index + 1] * part


def resonate(
    signal: Signal, rate: int, centres: Sequence[float], widths: Sequence[float]
) -> Signal:
    """Parallel two-pole resonances (formants), each of unit peak gain, summed.

    Args:
        signal: What excites them [T].
        rate: Sampling rate in Hz.
        centres: Their frequencies in Hz; those near the Nyquist frequency are left out.
        widths: Their bandwidths in Hz.
    """
    out = np.zeros_like(signal)
    for centre, width in zip(centres, widths, strict=True):
        if centre > 0.45 * rate:
            continue
        radius = np.exp(-np.pi * width / rate)
        angle = 2 * np.pi * centre / rate
        # (1 - z^-2) / A(z): zeros at 0 and Nyquist; its peak gain is close to 1 / ((1 - r^2) / 2).
        out += lfilter(
            [(1 - radius**2) / 2, 0.0, -(1 - radius**2) / 2],
            [1.0, -2 * radius * np.cos(angle), radius**2],
            signal,
        )
    return out


def strike(
    length: int, rate: int, frequencies: Signal, amplitudes: Signal, decays: Signal
) -> Signal:
    """A struck body: decaying modes.

    Args:
        length: Samples.
        rate: Sampling rate in Hz.
        frequencies: Of the modes [M] in Hz; those above 0.47 of the rate are left out.
        amplitudes: Of the modes [M].
        decays: Time constants of the modes [M] in seconds.
    """
    impulse = np.zeros(length)
    impulse[0] = 1.0
    out = np.zeros(length)
    for frequency, amplitude, decay in zip(frequencies, amplitudes, decays, strict=True):
        if frequency < 0.47 * rate:
            out += amplitude * _decaying(impulse, rate, frequency, decay, sine=True)
    return out


def _decaying(signal: Signal, rate: int, frequency: float, decay: float, *, sine: bool) -> Signal:
    """Answer every impulse in a signal with a decaying sine or cosine, by a two-pole filter.

    sum of r^n sin(an) z^-n = r sin(a) z^-1 / (1 - 2 r cos(a) z^-1 + r^2 z^-2), and with
    1 - r cos(a) z^-1 above the line for the cosine: several times cheaper than evaluating them.
    """
    radius, angle = np.exp(-1 / (decay * rate)), 2 * np.pi * frequency / rate
    top = [0.0, radius * np.sin(angle)] if sine else [1.0, -radius * np.cos(angle)]
    return lfilter(top, [1.0, -2 * radius * np.cos(angle), radius**2], signal)


def fade(length: int, rate: int, attack: float, decay: float) -> Signal:
    """An envelope: a smooth rise over `attack` seconds, then exponential with `decay` seconds."""
    time = np.arange(length) / rate
    rise = np.minimum(time / max(attack, 1 / rate), 1.0)
    return rise * rise * (3 - 2 * rise) * np.exp(-np.maximum(time - attack, 0) / decay)


def arch(length: int, rise: float = 0.5, power: float = 0.6) -> Signal:
    """An envelope or pitch curve from 0 over 1, at the fraction `rise` of its length, to 0."""
    position = np.linspace(0, 1, max(length, 2))[:length]
    bent = np.where(position < rise, position / rise, (1 - position) / (1 - rise)) / 2
    return np.sin(np.pi * np.clip(bent, 0, 0.5)) ** power


def place(n: int, rate: int, times: Iterable[float], pieces: Iterable[Signal]) -> Signal:
    """Add pieces into n samples of silence, each at its time in seconds; what sticks out is cut."""
    out = np.zeros(n)
    for time, piece in zip(times, pieces, strict=False):
        start = int(time * rate)
        if 0 <= start < n:
            part = piece[: n - start]
            out[start : start + part.size] += part
    return out


def grains(
    rng: np.random.Generator,
    n: int,
    rate: int,
    per_second: float,
    frequencies: Signal,
    decays: Signal,
    loudness: float = 1.0,
) -> Signal:
    """Many short decaying tones at random instants: drops, crackles, claps.

    One filter per grain shape, so that thousands of grains cost as little as a few.

    Args:
        rng: Gives the instants and loudnesses.
        n: Samples.
        rate: Sampling rate in Hz.
        per_second: Mean number of grains a second, over all shapes.
        frequencies: Of the grain shapes [M] in Hz.
        decays: Their time constants [M] in seconds.
        loudness: Spread of the grains' loudness (log-normal sigma); more sounds sparser.
    """
    out = np.zeros(n)
    seconds = n / rate
    for frequency, decay in zip(frequencies, decays, strict=True):
        count = int(rng.poisson(per_second * seconds / len(frequencies)))
        train = np.zeros(n)
        instants = rng.integers(0, n, count)
        np.add.at(train, instants, rng.lognormal(0, loudness, count) * rng.choice((-1, 1), count))
        out += _decaying(train, rate, min(frequency, 0.45 * rate), decay, sine=False)
    return out


def random_times(rng: np.random.Generator, seconds: float, per_second: float) -> Signal:
    """Instants of a Poisson process [E], sorted; at least one, in the first half."""
    count = max(int(rng.poisson(per_second * seconds)), 1)
    times = np.sort(rng.random(count)) * seconds
    times[0] = min(times[0], seconds / 2 * rng.random())
    return times


def regular_times(
    rng: np.random.Generator, seconds: float, gap: float, jitter: float = 0.0
) -> Signal:
    """Instants `gap` seconds apart [E], from a random phase on, moved by up to `jitter` gaps."""
    first = rng.random() * min(gap, seconds / 2)
    times = np.arange(first, seconds, gap)
    return np.maximum(times + gap * jitter * (rng.random(times.size) - 0.5), 0)


def at_least_one(times: Signal) -> Signal:
    """The instants, or a single one at the start where there are none."""
    return times if times.size else np.zeros(1)
