"""Things at home and at work. Each function draws one clip: (parameters, samples, rate) -> [T]."""

from __future__ import annotations

import numpy as np

from cache_store.spaces.tiny.ranges import Draw
from cache_store.spaces.tiny.synthesis import (
    Signal,
    at_least_one,
    buzz,
    fade,
    noise,
    place,
    random_times,
    regular_times,
    sine,
    strike,
    unit,
)


def clock(p: Draw, n: int, rate: int) -> Signal:
    """Ticking: dry clicks in strict time, tick and tock a little different."""
    times = regular_times(p.rng, n / rate, p("gap", 0.18, 1.0))
    pitch, decay = p("pitch", 1400, 5200), p("decay", 0.0012, 0.007)
    tock, level = p("tock", 0.7, 0.95), p("tock level", 0.5, 1.0)
    low = p("case", 350, 900)
    length = int(0.05 * rate)
    click = noise(p.rng, length, rate, 900, 7000) * fade(length, rate, 0.0005, 0.001)

    def tick(height: float) -> Signal:
        modes = np.array([pitch * height, 1.53 * pitch * height, low])
        decays = np.array([decay, 0.7 * decay, 2 * decay])
        return strike(length, rate, modes, np.array([1, 0.6, 0.3]), decays) + 0.3 * click

    pieces = [tick(1.0) if i % 2 else level * tick(tock) for i in range(times.size)]
    ticks = place(n, rate, times, pieces)
    return ticks + p("room", 0.0005, 0.005) * noise(p.rng, n, rate, 100, 3000, -3)


def alarm(p: Draw, n: int, rate: int) -> Signal:
    """An electronic alarm: hard beeps of one pitch, in groups."""
    pitch, beep = p("pitch", 850, 3300), p("beep", 0.05, 0.22)
    gap, rest = p("gap", 0.04, 0.16), p("rest", 0.15, 0.7)
    group = round(p("group", 1.6, 5.4))
    second = p("second", 1.0, 1.25)
    length = int(beep * rate)
    edge = np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.003 * rate)
    tilt = p("tilt", -18, -5)
    tones = [
        buzz(np.full(length, pitch * height), rate, tilt, odd=True) * np.minimum(edge, 1)
        for height in (1.0, second)
    ]
    period = group * (beep + gap) + rest
    starts = np.arange(-p.rng.random() * period, n / rate, period)
    times = (starts[:, None] + np.arange(group) * (beep + gap)).ravel()
    return place(n, rate, times, [tones[i % 2] for i in range(times.size)])


def phone(p: Draw, n: int, rate: int) -> Signal:
    """A telephone's bell: two tones trilling fast, ringing and pausing."""
    time = np.arange(n) / rate
    low, ratio = p("low", 550, 1500), p("ratio", 1.15, 1.45)
    trill = np.sin(2 * np.pi * p("trill", 12, 28) * time) > 0
    tone = buzz(low * np.where(trill, ratio, 1.0), rate, p("tilt", -14, -5))
    on, off = p("on", 0.6, 1.8), p("off", 0.3, 1.2)
    phase = (time + p.rng.random() * on) % (on + off)
    gate = np.clip(np.minimum(phase, on - phase) / 0.01, 0, 1)
    return tone * gate * (1 - 0.25 * trill)


def knock(p: Draw, n: int, rate: int) -> Signal:
    """Knuckles on a door: a few dull raps, then again."""
    pitch, decay = p("pitch", 110, 420), p("decay", 0.012, 0.045)
    speed = p("speed", 0.13, 0.32)
    length = int(6 * decay * rate)
    modes = pitch * np.array([1, 1.58, 2.41, 3.6])
    rap = strike(length, rate, modes, np.array([1, 0.7, 0.4, 0.25]), decay / np.sqrt(modes / pitch))
    click = noise(p.rng, length, rate, 500, 3500) * fade(length, rate, 0.0005, 0.003)
    rap = rap + p("click", 0.2, 0.7) * click
    times: list[float] = []
    for start in at_least_one(regular_times(p.rng, n / rate, p("gap", 1.3, 2.6), 0.2)):
        times += [float(start) + i * speed for i in range(round(p("raps", 1.6, 5.4)))]
    levels = p.each("level", 0.7, 1.1, len(times))
    return place(n, rate, times, [level * rap for level in levels])


def typing(p: Draw, n: int, rate: int) -> Signal:
    """A keyboard: light clacks in an uneven, fast rhythm."""
    times = random_times(p.rng, n / rate, p("speed", 5, 13))
    pitch, decay = p("pitch", 1100, 3600), p("decay", 0.0015, 0.006)
    length = int(0.06 * rate)
    body = p("body", 180, 500)
    pieces = []
    for spread, level in zip(
        p.each("spread", 0.75, 1.35, times.size),
        p.each("level", 0.4, 1.1, times.size),
        strict=True,
    ):
        click = noise(p.rng, length, rate, 0.6 * pitch * spread, 7500)
        click = click * fade(length, rate, 0.0005, decay)
        thud = strike(length, rate, np.array([body * spread]), np.ones(1), np.full(1, 0.012))
        pieces.append(level * (click + 0.35 * thud))
    return place(n, rate, times, pieces)


def glass(p: Draw, n: int, rate: int) -> Signal:
    """Glass breaking: a crash and a rain of high, ringing splinters."""
    pitch, decay = p("pitch", 1900, 4200), p("decay", 0.02, 0.12)
    tail = p("tail", 0.15, 0.7)
    times: list[float] = []
    pieces: list[Signal] = []
    for start in at_least_one(regular_times(p.rng, n / rate, p("gap", 1.8, 4), 0.2)):
        burst = int(0.12 * rate)
        times.append(float(start))
        pieces.append(
            p("crash", 0.6, 2)
            * noise(p.rng, burst, rate, 1200, 7800)
            * fade(burst, rate, 0.001, 0.03)
        )
        splinters = round(p("splinters", 12, 45))
        for delay in p.rng.exponential(tail, splinters):
            modes = p.each("splinter", 0.7, 2.4, 3) * pitch
            length = int(5 * decay * rate)
            level = float(np.exp(-delay / (2 * tail)) * p.rng.lognormal(-0.5, 0.5))
            times.append(float(start) + float(delay))
            pieces.append(
                level * strike(length, rate, modes, np.ones(3), decay * np.array([1, 0.7, 0.5]))
            )
    return place(n, rate, times, pieces)


def bell(p: Draw, n: int, rate: int) -> Signal:
    """A tower's bell: minor-third partials, long decay."""
    pitch, decay = p("pitch", 220, 1100), p("decay", 0.5, 2.2)
    partials = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.66, 3.0, 4.1])
    levels = np.array([0.6, 1.0, 0.8, 0.5, 0.9, 0.4, 0.4, 0.3, 0.25])
    levels = levels * p.each("partial", 0.4, 1.0, levels.size)
    times = at_least_one(regular_times(p.rng, n / rate, p("gap", 0.7, 2.4), p("jitter", 0, 0.1)))
    length = int(min(5 * decay, n / rate) * rate)
    toll = strike(length, rate, pitch * partials, levels, decay / np.sqrt(partials / 0.5))
    clapper = int(0.03 * rate)
    hit = noise(p.rng, clapper, rate, 1500, 7500) * fade(clapper, rate, 0.001, 0.006)
    toll[: min(clapper, length)] += p("clapper", 0.2, 0.9) * hit[:length]
    return place(n, rate, times, [toll] * times.size)


def gong(p: Draw, n: int, rate: int) -> Signal:
    """A gong: low, dense partials that bloom after the stroke."""
    pitch, decay = p("pitch", 65, 190), p("decay", 1.5, 4)
    ratios = np.cumsum(np.concatenate([[1.0], p.each("step", 0.15, 0.6, 24)]))
    levels = ratios ** -p("fall", 0.4, 1.1)
    times = at_least_one(regular_times(p.rng, n / rate, p("gap", 2.5, 5), 0.1))
    length = min(int(4 * decay * rate), n)
    ring = strike(length, rate, pitch * ratios, levels, decay / np.sqrt(ratios))
    bloom = np.minimum(np.arange(length) / (p("bloom", 0.03, 0.3) * rate), 1)
    shimmer = 1 + 0.2 * sine(np.full(length, p("shimmer", 2, 6)), rate)
    return unit(place(n, rate, times, [ring * bloom * shimmer] * times.size))


KINDS = {
    "clock": clock,
    "alarm": alarm,
    "phone": phone,
    "knock": knock,
    "typing": typing,
    "glass": glass,
    "bell": bell,
    "gong": gong,
}
