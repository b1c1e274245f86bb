"""Vehicles and tools. Each function draws one clip: (parameters, samples, rate) -> [T]."""

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
    unit,
    wander,
)


def engine(p: Draw, n: int, rate: int) -> Signal:
    """A motor idling: a low, slightly uneven harmonic rumble."""
    drift = 1 + p("drift", 0.01, 0.1) * wander(p.rng, n, rate, p("turns", 0.5, 2))
    rumble = buzz(p("pitch", 28, 85) * drift, rate, p("tilt", -7, -3))
    rumble += p("body", 0.3, 1.2) * unit(
        resonate(rumble, rate, (p("formant", 120, 320), p("formant 2", 400, 900)), (80, 200))
    )
    air = noise(p.rng, n, rate, 80, p("air high", 600, 2500), -4)
    return unit(rumble) + p("air", 0.1, 0.6) * air


def motorcycle(p: Draw, n: int, rate: int) -> Signal:
    """A motor revving up and down."""
    revs = 0.5 + 0.5 * wander(p.rng, n, rate, p("revs", 0.6, 1.6))
    pitch = p("pitch", 40, 85) * (1 + p("reach", 0.8, 2.2) * revs)
    source = buzz(pitch, rate, p("tilt", -4, -1.5))
    shaped = source + 2 * resonate(
        source, rate, (p("formant", 180, 420), p("formant 2", 900, 1700)), (120, 300)
    )
    return unit(shaped) * (0.5 + 0.8 * revs) + 0.15 * noise(p.rng, n, rate, 200, 4000, -3)


def helicopter(p: Draw, n: int, rate: int) -> Signal:
    """Rotor blades: low noise beaten into pulses, a turbine's whine above."""
    time = np.arange(n) / rate
    speed = p("speed", 7, 15)
    turn = (time * speed + p.rng.random()) % 1.0
    beat = np.exp(-turn * p("sharpness", 3, 8)) + np.exp(-(1 - turn) * 25)
    blades = noise(p.rng, n, rate, 40, p("blade high", 300, 1200), p("tilt", -6, -2)) * beat
    wash = noise(p.rng, n, rate, 150, p("wash high", 1500, 5000), -4)
    whine = sine(np.full(n, p("whine", 500, 1800)), rate)
    far = 1 + p("depth", 0.05, 0.5) * wander(p.rng, n, rate, p("passes", 0.2, 0.8))
    return far * (
        unit(blades) + p("wash", 0.1, 0.45) * wash + p("whine level", 0.005, 0.06) * whine
    )


def train(p: Draw, n: int, rate: int) -> Signal:
    """Wheels over rail joints: double clacks on a heavy rumble."""
    gap = p("gap", 0.45, 1.1)
    pair = p("pair", 0.1, 0.2) * gap / 0.6
    times = regular_times(p.rng, n / rate, gap)
    pitch, decay = p("pitch", 180, 600), p("decay", 0.02, 0.06)
    length = int(5 * decay * rate)
    clack = sine(np.full(length, pitch), rate) + 0.8 * noise(p.rng, length, rate, 300, 3500)
    clack = clack * fade(length, rate, 0.002, decay)
    clacks = place(
        n,
        rate,
        np.concatenate([times, times + pair]),
        [clack] * times.size + [p("second", 0.6, 1) * clack] * times.size,
    )
    rumble = noise(p.rng, n, rate, 40, p("rumble", 150, 450), p("tilt", -5, -2))
    hiss = noise(p.rng, n, rate, 800, p("hiss high", 2500, 6000), -3)
    return 2 * unit(clacks) + p("rumble level", 0.5, 1.2) * rumble + p("hiss", 0.05, 0.25) * hiss


def siren(p: Draw, n: int, rate: int) -> Signal:
    """An emergency siren: a strong tone sweeping up and down."""
    time = np.arange(n) / rate
    turn = time / p("period", 0.35, 5) + p.rng.random()
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * turn)
    low = p("low", 420, 760)
    tone = buzz(low * p("reach", 1.5, 2.3) ** sweep, rate, p("tilt", -14, -6))
    far = np.exp(p("depth", 0.05, 0.5) * wander(p.rng, n, rate, 0.4))
    return far * tone + p("street", 0.005, 0.06) * noise(p.rng, n, rate, 80, 2000, -4)


def horn(p: Draw, n: int, rate: int) -> Signal:
    """A car's horn: two steady reedy tones, on and off."""
    pitch, second = p("pitch", 290, 470), p("second", 1.18, 1.3)
    tilt = p("tilt", -5, -1)
    clock = float(p.rng.random() * 0.5)
    times: list[float] = []
    pieces: list[Signal] = []
    while clock < n / rate:
        seconds = p("length", 0.2, 1.4)
        length = int(seconds * rate)
        flat = np.full(length, pitch)
        tone = buzz(flat, rate, tilt) + buzz(second * flat, rate, tilt)
        edge = np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.015 * rate)
        times.append(clock)
        pieces.append(tone * np.minimum(edge, 1))
        clock += seconds + p("pause", 0.12, 1.0)
    return place(n, rate, times, pieces)


def airplane(p: Draw, n: int, rate: int) -> Signal:
    """A jet passing: broad noise that swells, with a slowly falling whine."""
    position = np.linspace(-1, 1, n) * p("speed", 0.6, 2) + p("offset", -0.6, 0.6)
    near = 1 / (1 + position**2)
    roar = noise(p.rng, n, rate, 60, p("roar high", 500, 1800), p("tilt", -5, -2))
    hiss = noise(p.rng, n, rate, 500, p("hiss high", 2500, 6500), -3)
    fall = np.tanh(-2 * position) * p("fall", 0.05, 0.2)
    whine = buzz(p("whine", 600, 2200) * (1 + fall), rate, -12)
    return (
        near * roar
        + p("hiss", 0.3, 0.8) * near**2 * hiss
        + p("whine level", 0.02, 0.2) * (near * whine)
    )


def _rough_motor(p: Draw, n: int, rate: int, pitch: Signal, rough: float) -> Signal:
    flutter = 1 + rough * wander(p.rng, n, rate, 40)
    return buzz(pitch * flutter, rate, p("tilt", -2.5, 0))


def chainsaw(p: Draw, n: int, rate: int) -> Signal:
    """A two-stroke motor: a bright, rough snarl that rises when it cuts."""
    throttle = 0.5 + 0.5 * wander(p.rng, n, rate, p("bites", 0.4, 1.5))
    pitch = p("pitch", 75, 170) * (1 + p("reach", 0.15, 0.7) * throttle)
    snarl = _rough_motor(p, n, rate, pitch, p("rough", 0.01, 0.05))
    snarl = unit(
        snarl
        + 2
        * resonate(snarl, rate, (p("formant", 700, 1600), p("formant 2", 2500, 4200)), (400, 800))
    )
    dust = noise(p.rng, n, rate, 600, 7500)
    return snarl * (0.6 + 0.6 * throttle) + p("dust", 0.1, 0.5) * throttle * dust


def drill(p: Draw, n: int, rate: int) -> Signal:
    """An electric drill: a whine that ramps up, holds and dies, again and again."""
    times = regular_times(p.rng, n / rate, p("gap", 1.2, 2.6))
    pitch, tilt = p("pitch", 180, 420), p("tilt", -3, 0)
    gears = p("gears", 3.2, 6.5)
    pieces: list[Signal] = []
    for seconds in p.each("length", 0.7, 1.8, times.size):
        length = int(seconds * rate)
        ramp = np.minimum(arch(length, 0.3, 0.5) * 1.4, 1)
        whine = buzz(np.maximum(pitch * ramp, 20), rate, tilt)
        whine += 0.5 * buzz(np.maximum(gears * pitch * ramp, 20), rate, -6)
        air = p("air", 0.2, 0.7) * noise(p.rng, length, rate, 800, 7000)
        pieces.append((whine + air) * ramp)
    return place(n, rate, times, pieces)


def vacuum_cleaner(p: Draw, n: int, rate: int) -> Signal:
    """A vacuum cleaner: steady air with a motor's tone in it."""
    air = noise(
        p.rng, n, rate, p("air low", 120, 400), p("air high", 3500, 7500), p("tilt", -4, -1)
    )
    pitch = p("pitch", 200, 560) * (1 + 0.01 * wander(p.rng, n, rate, 0.7))
    motor = buzz(pitch, rate, p("motor tilt", -7, -3))
    stroke = 1 + p("depth", 0.03, 0.25) * wander(p.rng, n, rate, p("strokes", 0.5, 1.5))
    return stroke * air + p("motor", 0.15, 0.6) * motor


def saw(p: Draw, n: int, rate: int) -> Signal:
    """Sawing wood by hand: rasping strokes, forth and back."""
    gap = p("gap", 0.28, 0.7)
    times = regular_times(p.rng, n / rate, gap, 0.08)
    low, high = p("low", 700, 1800), p("high", 3500, 7500)
    teeth, depth = p("teeth", 55, 190), p("depth", 0.3, 0.85)
    pieces = []
    for stroke in range(times.size):
        length = int(gap * p("duty", 0.6, 0.9) * rate)
        bow = arch(length, 0.5, 0.7)
        rasp = 1 - depth * (0.5 + 0.5 * sine(teeth * (0.3 + 0.7 * bow), rate))
        shift = 1.0 if stroke % 2 else p("back", 0.7, 0.92)
        pieces.append(shift * noise(p.rng, length, rate, low * shift, high * shift) * rasp * bow)
    return place(n, rate, times, pieces)


KINDS = {
    "engine": engine,
    "motorcycle": motorcycle,
    "helicopter": helicopter,
    "train": train,
    "siren": siren,
    "horn": horn,
    "airplane": airplane,
    "chainsaw": chainsaw,
    "drill": drill,
    "vacuum cleaner": vacuum_cleaner,
    "saw": saw,
}
