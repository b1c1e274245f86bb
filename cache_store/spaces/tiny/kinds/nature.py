"""Weather, water and fire. Each function draws one clip: (parameters, samples, rate) -> [T]."""

from __future__ import annotations

import numpy as np

from cache_store.spaces.tiny.ranges import Draw
from cache_store.spaces.tiny.synthesis import (
    Signal,
    fade,
    grains,
    noise,
    place,
    random_times,
    regular_times,
    sine,
    unit,
    wander,
)


def rain(p: Draw, n: int, rate: int) -> Signal:
    """A bed of hiss under many short drops."""
    bed = noise(
        p.rng, n, rate, p("bed low", 300, 1500), p("bed high", 4500, 7800), p("tilt", -3, 2)
    )
    drops = grains(
        p.rng,
        n,
        rate,
        p("drops", 60, 500),
        p.each("drop pitch", 1200, 6000, 5),
        p.each("drop decay", 0.0006, 0.003, 5),
    )
    swell = 1 + p("swell", 0.05, 0.4) * wander(p.rng, n, rate, p("swell rate", 0.2, 1))
    return swell * (bed + p("drop level", 0.3, 1.8) * unit(drops))


def wind(p: Draw, n: int, rate: int) -> Signal:
    """Low noise in gusts, with a howl that rises and falls with them."""
    gust = wander(p.rng, n, rate, p("gusts", 0.25, 1.0))
    low = noise(p.rng, n, rate, 40, p("rumble", 150, 500), p("tilt", -6, -2))
    high = noise(
        p.rng, n, rate, p("howl low", 250, 500), p("howl high", 550, 1200), p("howl tilt", -4, 0)
    )
    depth = p("depth", 0.6, 1.6)
    return low * np.exp(depth * gust) + p("howl", 0.2, 0.8) * high * np.exp(1.8 * depth * gust)


def waves(p: Draw, n: int, rate: int) -> Signal:
    """Surf: slow swells, bright where they break, over a distant rumble."""
    period = p("period", 2.5, 8)
    turn = p.rng.random() + np.arange(n) / rate / period
    turn += 0.1 * wander(p.rng, n, rate, 0.5)
    crest = (0.5 - 0.5 * np.cos(2 * np.pi * turn)) ** p("sharpness", 1.5, 5)
    rumble = noise(p.rng, n, rate, 50, p("rumble", 250, 700), p("tilt", -5, -2))
    foam = noise(
        p.rng,
        n,
        rate,
        p("foam low", 300, 900),
        p("foam high", 3000, 7000),
        p("foam tilt", -5, -1.5),
    )
    return (0.25 + 0.5 * crest) * rumble + (p("floor", 0.05, 0.25) + crest) * foam * p(
        "foam", 0.8, 1.6
    )


def thunder(p: Draw, n: int, rate: int) -> Signal:
    """A crack and a long uneven roll."""
    roll = noise(p.rng, n, rate, 25, p("roll", 90, 260), p("tilt", -8, -3))
    crack = noise(p.rng, n, rate, 80, p("crack", 600, 2500), p("crack tilt", -8, -4))
    time = np.arange(n) / rate
    start = p.rng.random() * 0.3 * n / rate
    since = np.maximum(time - start, 0)
    on = (time >= start) * np.minimum(since / p("onset", 0.02, 0.3), 1)
    rolling = np.exp(1.3 * wander(p.rng, n, rate, p("rolls", 2, 6)))
    body = on * rolling * np.exp(-since / p("decay", 1.0, 3.5)) * roll
    return body + p("crack level", 0.2, 1.2) * on * crack * rolling * np.exp(
        -since / p("crack decay", 0.1, 0.6)
    )


def stream(p: Draw, n: int, rate: int) -> Signal:
    """A brook: many bubbles that rise in pitch, over soft noise."""
    times = random_times(p.rng, n / rate, p("bubbles", 40, 120))
    starts = p.each("bubble pitch", 350, 1600, times.size)
    decays = p.each("bubble decay", 0.008, 0.035, times.size)
    loud = p.rng.lognormal(0, 0.7, times.size)
    bed = noise(p.rng, n, rate, p("bed low", 200, 500), p("bed high", 1500, 4000), p("tilt", -4, 0))
    pieces = (
        level * _bubble(rate, start, 0.3, decay)
        for start, decay, level in zip(starts, decays, loud, strict=True)
    )
    return unit(place(n, rate, times, pieces)) + p("bed", 0.2, 0.6) * bed


def _bubble(rate: int, pitch: float, rise: float, decay: float) -> Signal:
    length = int(5 * decay * rate)
    sweep = pitch * (1 + rise * np.arange(length) / (decay * rate))
    return sine(sweep, rate) * fade(length, rate, 0.001, decay)


def water_drops(p: Draw, n: int, rate: int) -> Signal:
    """A dripping tap: single bubbles, a plop each, with an echo."""
    gap = p("gap", 0.25, 1.2)
    times = regular_times(p.rng, n / rate, gap, p("jitter", 0, 0.5))
    pitch = p("pitch", 600, 1800)
    spread = p.each("spread", 0.9, 1.15, times.size)
    decay, rise = p("decay", 0.012, 0.05), p("rise", 0.15, 0.8)
    drops = place(
        n,
        rate,
        np.concatenate([times, times + p("echo time", 0.03, 0.12)]),
        [_bubble(rate, pitch * s, rise, decay) for s in spread]
        + [p("echo", 0.1, 0.5) * _bubble(rate, pitch * s * 1.02, rise, decay) for s in spread],
    )
    clicks = place(
        n, rate, times, [0.3 * noise(p.rng, int(0.004 * rate) + 16, rate, 1500, 7000)] * times.size
    )
    return drops + clicks + p("damp", 0.001, 0.01) * noise(p.rng, n, rate, 100, 3000, -3)


def fire(p: Draw, n: int, rate: int) -> Signal:
    """Crackling: sparse snaps of very different loudness over a soft roar."""
    snaps = grains(
        p.rng,
        n,
        rate,
        p("snaps", 8, 60),
        p.each("snap pitch", 900, 5500, 6),
        p.each("snap decay", 0.0005, 0.005, 6),
        loudness=1.1,
    )
    roar = noise(p.rng, n, rate, 50, p("roar", 250, 900), p("tilt", -5, -1))
    hiss = noise(p.rng, n, rate, 1500, p("hiss high", 5000, 7800))
    flicker = 1 + 0.5 * wander(p.rng, n, rate, p("flicker", 3, 9))
    return (
        unit(snaps)
        + p("roar level", 0.05, 0.4) * flicker * roar
        + p("hiss", 0.01, 0.12) * flicker * hiss
    )


KINDS = {
    "rain": rain,
    "wind": wind,
    "waves": waves,
    "thunder": thunder,
    "stream": stream,
    "water drops": water_drops,
    "fire": fire,
}
