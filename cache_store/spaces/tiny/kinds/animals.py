"""Animals. Each function draws one clip: (parameters, samples, rate) -> [T]."""

from __future__ import annotations

import numpy as np

from cache_store.spaces.tiny.ranges import Draw
from cache_store.spaces.tiny.synthesis import (
    Signal,
    arch,
    at_least_one,
    buzz,
    fade,
    noise,
    place,
    random_times,
    regular_times,
    resonate,
    sine,
    unit,
    wander,
)


def voice(
    p: Draw,
    rate: int,
    contour: Signal,
    envelope: Signal,
    formants: tuple[float, ...],
    width: float,
    tilt: float,
    breath: float,
) -> Signal:
    """One utterance: a harmonic source and breath noise through formants.

    Args:
        p: Gives the noise.
        rate: Sampling rate in Hz.
        contour: Fundamental frequency over time [T] in Hz.
        envelope: Loudness over time [T].
        formants: Resonances in Hz.
        width: Their bandwidth in Hz.
        tilt: Slope of the source in dB an octave.
        breath: Level of the noise beside the tone.
    """
    source = buzz(contour, rate, tilt)
    source = source + breath * noise(p.rng, contour.size, rate, 200, 7500)
    shaped = resonate(source * envelope, rate, formants, [width] * len(formants))
    return unit(shaped) + 0.1 * source * envelope


def dog(p: Draw, n: int, rate: int) -> Signal:
    """Barks: short voiced bursts with a falling pitch, in groups."""
    gap = p("gap", 0.25, 1.1)
    times = at_least_one(regular_times(p.rng, n / rate, gap, p("jitter", 0, 0.6)))
    pitch, fall = p("pitch", 230, 850), p("fall", 0.25, 0.6)
    formants = (p("formant 1", 500, 1100), p("formant 2", 1300, 2600))
    breath, tilt = p("breath", 0.15, 0.8), p("tilt", -9, -3)
    pieces = []
    for spread, seconds in zip(
        p.each("spread", 0.85, 1.2, times.size),
        p.each("length", 0.09, 0.28, times.size),
        strict=True,
    ):
        length = int(seconds * rate)
        bow = arch(length, 0.25)
        contour = pitch * spread * (1 - fall + fall * bow)
        pieces.append(voice(p, rate, contour, bow, formants, 250, tilt, breath))
    return place(n, rate, times, pieces)


def cat(p: Draw, n: int, rate: int) -> Signal:
    """Meows: long voiced arcs, nasal at first, open in the middle."""
    times = at_least_one(regular_times(p.rng, n / rate, p("gap", 1.0, 2.2), 0.3))
    pitch, bend = p("pitch", 380, 800), p("bend", 0.15, 0.5)
    shut = (p("shut", 600, 900), p("shut 2", 2200, 3000))
    wide = (p("open", 1100, 1700), p("open 2", 3000, 3800))
    tilt, rise = p("tilt", -8, -3), p("rise", 0.25, 0.55)
    pieces = []
    for seconds in p.each("length", 0.5, 1.2, times.size):
        length = int(seconds * rate)
        bow = arch(length, rise)
        contour = pitch * (1 - bend + bend * arch(length, rise, 1.0))
        contour = contour * (1 + 0.015 * np.sin(2 * np.pi * 6 * np.arange(length) / rate))
        nasal = voice(p, rate, contour, bow, shut, 180, tilt, 0.05)
        open_ = voice(p, rate, contour, bow, wide, 220, tilt, 0.05)
        pieces.append(nasal * (1 - bow) + open_ * bow)
    return place(n, rate, times, pieces)


def bird(p: Draw, n: int, rate: int) -> Signal:
    """Chirps and trills: fast pure sweeps, high up, in phrases."""
    phrases = random_times(p.rng, n / rate, p("phrases", 0.8, 2.2))
    pitch, sweep = p("pitch", 2200, 5600), p("sweep", 0.1, 0.45)
    seconds, gap = p("length", 0.03, 0.14), p("gap", 0.02, 0.1)
    warble, up = p("warble", 15, 60), p("up", -1, 1)
    times: list[float] = []
    pieces = []
    for begin, notes in zip(phrases, p.each("notes", 2, 9, phrases.size), strict=True):
        for note, spread in enumerate(p.each("spread", 0.85, 1.2, round(notes))):
            length = int(seconds * rate)
            ramp = np.linspace(-0.5, 0.5, length)
            wobble = 0.05 * np.sin(2 * np.pi * warble * np.arange(length) / rate)
            contour = pitch * spread * (1 + sweep * up * ramp + wobble)
            times.append(begin + note * (seconds + gap))
            pieces.append(sine(np.minimum(contour, 0.47 * rate), rate) * arch(length, 0.4))
    return place(n, rate, times, pieces)


def rooster(p: Draw, n: int, rate: int) -> Signal:
    """Crowing in four syllables, the last one long and falling."""
    pitch, last = p("pitch", 420, 850), p("last", 0.5, 1.1)
    formants = (p("formant 1", 900, 1500), p("formant 2", 2000, 3000))
    tilt, high, breath = p("tilt", -5, -1), p("high", 1.2, 1.6), p("breath", 0.03, 0.25)
    pieces: list[Signal] = []
    times: list[float] = []
    for begin in at_least_one(regular_times(p.rng, n / rate, p("gap", 2.4, 4), 0.1)):
        clock = float(begin)
        lengths = [*p.each("syllable", 0.12, 0.3, 3), last]
        for height, seconds in zip((1.0, 0.95, high, high * 0.95), lengths, strict=True):
            length = int(seconds * rate)
            drop = 1 - 0.25 * np.linspace(0, 1, length) ** 2
            contour = pitch * height * drop * (0.85 + 0.15 * arch(length, 0.3))
            pieces.append(
                voice(p, rate, contour, arch(length, 0.2, 0.4), formants, 300, tilt, breath)
            )
            times.append(clock)
            clock += seconds + 0.03
    return place(n, rate, times, pieces)


def crow(p: Draw, n: int, rate: int) -> Signal:
    """Caws: hoarse, rough bursts in series."""
    times = at_least_one(regular_times(p.rng, n / rate, p("gap", 0.45, 1.2), p("jitter", 0, 0.3)))
    pitch, rough = p("pitch", 280, 560), p("rough", 0.3, 0.9)
    formants = (p("formant 1", 1000, 1500), p("formant 2", 1700, 2500))
    roughness, tilt = p("roughness", 50, 110), p("tilt", -3, 0)
    pieces = []
    for seconds in p.each("length", 0.2, 0.45, times.size):
        length = int(seconds * rate)
        grain = 1 - rough * (0.5 + 0.5 * np.sin(2 * np.pi * roughness * np.arange(length) / rate))
        contour = pitch * (0.9 + 0.1 * arch(length, 0.3))
        pieces.append(
            voice(p, rate, contour, grain * arch(length, 0.2, 0.4), formants, 350, tilt, 0.7)
        )
    return place(n, rate, times, pieces)


def frog(p: Draw, n: int, rate: int) -> Signal:
    """Croaks: trains of pulses through one low resonance."""
    times = at_least_one(regular_times(p.rng, n / rate, p("gap", 0.4, 1.3), p("jitter", 0, 0.4)))
    pulses, centre = p("pulses", 28, 85), p("centre", 350, 1400)
    bend = p("bend", 0.02, 0.4)
    pieces = []
    for seconds in p.each("length", 0.18, 0.6, times.size):
        length = int(seconds * rate)
        source = buzz(pulses * (1 + bend * np.linspace(0, 1, length)), rate, -1)
        shaped = resonate(source, rate, (centre, 2.4 * centre), (160, 300))
        pieces.append(unit(shaped) * arch(length, p("rise", 0.3, 0.8), 0.5))
    return place(n, rate, times, pieces)


def cricket(p: Draw, n: int, rate: int) -> Signal:
    """Chirping: a very high pure tone, pulsed fast, in a steady rhythm."""
    time = np.arange(n) / rate
    pitch = p("pitch", 3000, 5600)
    chirps, duty = p("chirps", 1.5, 5), p("duty", 0.35, 0.75)
    pulses = np.maximum(np.sin(2 * np.pi * p("pulses", 25, 65) * time), 0)
    phase = (time * chirps + p.rng.random()) % 1.0
    gate = np.where(phase < duty, np.sin(np.pi * np.clip(phase / duty, 0, 1)) ** 0.5, 0)
    tone = sine(pitch * (1 + 0.01 * wander(p.rng, n, rate, 3)), rate)
    night = noise(p.rng, n, rate, 1500, 6500)
    return tone * pulses * gate + p("night", 0.005, 0.05) * night


def cow(p: Draw, n: int, rate: int) -> Signal:
    """Moos: long, low, voiced arcs."""
    times = at_least_one(regular_times(p.rng, n / rate, p("gap", 2.2, 4), 0.2))
    pitch, bend = p("pitch", 85, 190), p("bend", 0.1, 0.35)
    formants = (p("formant 1", 250, 420), p("formant 2", 600, 1000), p("formant 3", 1800, 2400))
    tilt = p("tilt", -6, -2)
    pieces = []
    for seconds in p.each("length", 1.1, 2.4, times.size):
        length = int(seconds * rate)
        contour = pitch * (1 - bend + bend * arch(length, 0.4, 1.0))
        envelope = arch(length, p("rise", 0.2, 0.6), 0.5)
        pieces.append(voice(p, rate, contour, envelope, formants, 150, tilt, 0.06))
    return place(n, rate, times, pieces)


def fly(p: Draw, n: int, rate: int) -> Signal:
    """Buzzing wings that come and go."""
    pitch = p("pitch", 130, 290) * (
        1 + p("drift", 0.03, 0.12) * wander(p.rng, n, rate, p("turns", 1, 4))
    )
    source = buzz(pitch, rate, p("tilt", -5, -1))
    shaped = source + 2 * resonate(
        source, rate, (p("formant", 600, 1800), p("formant 2", 2400, 4200)), (300, 600)
    )
    return unit(shaped) * np.exp(
        p("depth", 0.4, 1.4) * wander(p.rng, n, rate, p("passes", 0.6, 2.5))
    )


def owl(p: Draw, n: int, rate: int) -> Signal:
    """Hoots: soft, nearly pure tones in a short rhythm."""
    pitch, bend = p("pitch", 260, 520), p("bend", 0.03, 0.12)
    pieces: list[Signal] = []
    times: list[float] = []
    for begin in at_least_one(regular_times(p.rng, n / rate, p("gap", 1.6, 3.2), 0.2)):
        clock = float(begin)
        for seconds in p.each("length", 0.14, 0.5, 3):
            length = int(seconds * rate)
            contour = pitch * (1 - bend + bend * arch(length))
            tone = sine(contour, rate) + p("second", 0.03, 0.2) * sine(2 * contour, rate)
            pieces.append(tone * arch(length, 0.4))
            times.append(clock)
            clock += seconds + 0.1
    return place(n, rate, times, pieces)


def sheep(p: Draw, n: int, rate: int) -> Signal:
    """Baas: voiced, with a strong tremble."""
    times = at_least_one(regular_times(p.rng, n / rate, p("gap", 1.3, 2.8), 0.2))
    pitch, tremble = p("pitch", 200, 430), p("tremble", 7, 12)
    formants = (p("formant 1", 600, 950), p("formant 2", 1300, 1900), p("formant 3", 2500, 3300))
    depth, tilt = p("depth", 0.3, 0.7), p("tilt", -6, -2)
    pieces = []
    for seconds in p.each("length", 0.6, 1.3, times.size):
        length = int(seconds * rate)
        shake = np.sin(2 * np.pi * tremble * np.arange(length) / rate)
        contour = pitch * (1 + 0.04 * shake) * (1 - 0.1 * np.linspace(0, 1, length))
        envelope = arch(length, 0.15, 0.4) * (1 - depth * (0.5 + 0.5 * shake))
        pieces.append(voice(p, rate, contour, envelope, formants, 220, tilt, 0.1))
    return place(n, rate, times, pieces)


def woodpecker(p: Draw, n: int, rate: int) -> Signal:
    """Drumming on wood: fast rolls of dry knocks."""
    speed, knocks = p("speed", 12, 24), p("knocks", 7, 20)
    pitch, decay = p("pitch", 700, 1900), p("decay", 0.006, 0.02)
    knock = sine(np.full(int(5 * decay * rate), pitch), rate)
    knock = knock * fade(knock.size, rate, 0.0005, decay)
    starts = at_least_one(regular_times(p.rng, n / rate, p("gap", 1.3, 2.6), 0.3))
    times = (starts[:, None] + np.arange(round(knocks)) / speed).ravel()
    return place(n, rate, times, [knock] * times.size)


KINDS = {
    "dog": dog,
    "cat": cat,
    "bird": bird,
    "rooster": rooster,
    "crow": crow,
    "frog": frog,
    "cricket": cricket,
    "cow": cow,
    "fly": fly,
    "owl": owl,
    "sheep": sheep,
    "woodpecker": woodpecker,
}
