"""Instruments. Each function draws one clip: (parameters, samples, rate) -> [T]."""

from __future__ import annotations

import numpy as np

from cache_store.spaces.tiny.ranges import Draw
from cache_store.spaces.tiny.synthesis import (
    Signal,
    arch,
    buzz,
    fade,
    noise,
    place,
    regular_times,
    resonate,
    sine,
    strike,
    unit,
)

# A melody steps through this scale (semitones over the key) rather than through arbitrary pitches.
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17, 19])


def _melody(p: Draw, count: int, key: float) -> Signal:
    steps = np.clip(4 + np.cumsum(p.rng.integers(-2, 3, count)), 0, _SCALE.size - 1)
    return key * 2.0 ** (_SCALE[steps] / 12)


def drum(p: Draw, n: int, rate: int) -> Signal:
    """A drum kit: kick, snare and hi-hat in a beat."""
    beat = p("beat", 0.22, 0.45)
    times = regular_times(p.rng, n / rate, beat)
    kick_pitch, kick_decay = p("kick", 48, 85), p("kick decay", 0.05, 0.16)
    length = int(5 * kick_decay * rate)
    sweep = kick_pitch * (1 + 2.5 * np.exp(-np.arange(length) / (0.02 * rate)))
    kick = 1.5 * sine(sweep, rate) * fade(length, rate, 0.002, kick_decay)
    snare_decay = p("snare decay", 0.04, 0.13)
    length = int(5 * snare_decay * rate)
    snare = noise(p.rng, length, rate, p("snare low", 400, 1200), 7500)
    snare = snare + strike(
        length, rate, p("snare", 160, 260) * np.array([1, 1.6]), np.ones(2), np.full(2, 0.06)
    )
    snare = snare * fade(length, rate, 0.001, snare_decay)
    hat_length = int(p("hat", 0.03, 0.09) * rate)
    hat = 0.4 * noise(p.rng, hat_length, rate, 4500, 7900) * fade(hat_length, rate, 0.001, 0.02)
    turn = int(p.rng.integers(0, 4))
    order = (kick, hat, snare, hat)
    return place(n, rate, times, [order[(i + turn) % 4] for i in range(times.size)])


def guitar(p: Draw, n: int, rate: int) -> Signal:
    """A plucked string instrument: notes that start sharp and die away, bright ones first."""
    times = regular_times(p.rng, n / rate, p("gap", 0.18, 0.6), p("jitter", 0, 0.1))
    notes = _melody(p, times.size, p("key", 85, 170))
    pluck, decay = p("pluck", 0.08, 0.35), p("decay", 0.3, 1.1)
    pieces: list[Signal] = []
    for pitch in notes:
        order = np.arange(1, 26)
        levels = np.abs(np.sin(np.pi * order * pluck)) / order
        length = int(min(2.5 * decay, 1.5) * rate)
        pieces.append(
            strike(length, rate, pitch * order, levels, decay / (1 + p("damp", 0.1, 0.5) * order))
        )
    return place(n, rate, times, pieces)


def flute(p: Draw, n: int, rate: int) -> Signal:
    """A flute: soft notes with vibrato and breath."""
    return _blown(p, n, rate, key=p("key", 250, 520), tilt=p("tilt", -16, -9), air=True)


def _blown(p: Draw, n: int, rate: int, key: float, tilt: float, air: bool) -> Signal:
    gap = p("gap", 0.3, 1.0)
    times = regular_times(p.rng, n / rate, gap)
    notes = _melody(p, times.size, key)
    vibrato, depth = p("vibrato", 4, 6.5), p("depth", 0.002, 0.015)
    breath = p("breath", 0.03, 0.2)
    pieces: list[Signal] = []
    for pitch in notes:
        length = int(gap * p("legato", 0.85, 1.1) * rate)
        shake = np.sin(2 * np.pi * vibrato * np.arange(length) / rate)
        tone = buzz(pitch * (1 + depth * shake), rate, tilt)
        if air:
            tone = tone + breath * noise(p.rng, length, rate, pitch, 5000, -3)
        pieces.append(tone * arch(length, 0.15, 0.35))
    return place(n, rate, times, pieces)


def violin(p: Draw, n: int, rate: int) -> Signal:
    """A bowed string: bright notes with strong vibrato through a wooden body."""
    bowed = _blown(p, n, rate, key=p("key", 200, 420), tilt=p("tilt", -6, -3), air=False)
    body = (p("body 1", 260, 330), p("body 2", 450, 560), p("body 3", 2200, 3000))
    return unit(bowed + 1.5 * resonate(bowed, rate, body, (60, 90, 700)))


def organ(p: Draw, n: int, rate: int) -> Signal:
    """A church organ: sustained chords of many pipes."""
    gap = p("gap", 0.9, 2.4)
    times = np.arange(-p.rng.random() * gap, n / rate, gap)
    roots = _melody(p, times.size, p("key", 65, 150))
    stops = p.each("stop", 0.2, 1.0, 4)
    tilt = p("tilt", -12, -7)
    pieces: list[Signal] = []
    for root in roots:
        length = int(1.02 * gap * rate)
        chord = np.zeros(length)
        for ratio in (1.0, 1.2599, 1.4983):
            for octave, level in zip((1, 2, 4, 8), stops, strict=True):
                pitch = root * ratio * octave * (1 + p("detune", -0.002, 0.002))
                chord += level * buzz(np.full(length, pitch), rate, tilt)
        edge = np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.04 * rate)
        pieces.append(chord * np.minimum(edge, 1))
    # A chord that began before the clip starts with it.
    return place(n, rate, np.maximum(times, 0), pieces)


KINDS = {
    "drum": drum,
    "guitar": guitar,
    "flute": flute,
    "violin": violin,
    "organ": organ,
}
