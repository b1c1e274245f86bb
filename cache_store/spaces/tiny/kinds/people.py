"""People and what they do. Each function draws one clip: (parameters, samples, rate) -> [T]."""

from __future__ import annotations

import numpy as np

from cache_store.spaces.tiny.kinds.animals import voice
from cache_store.spaces.tiny.ranges import Draw
from cache_store.spaces.tiny.synthesis import (
    Signal,
    arch,
    at_least_one,
    buzz,
    fade,
    grains,
    noise,
    place,
    regular_times,
    resonate,
    sine,
    unit,
    wander,
)


def baby(p: Draw, n: int, rate: int) -> Signal:
    """A baby's crying: wails with an arched, trembling pitch, a gasp between them."""
    pitch, bend = p("pitch", 330, 580), p("bend", 0.1, 0.4)
    formants = (p("formant 1", 900, 1400), p("formant 2", 2200, 3600))
    tilt, breath, tremble = p("tilt", -5, 0), p("breath", 0.03, 0.3), p("tremble", 5, 11)
    pause = p("pause", 0.12, 0.5)
    clock = float(p.rng.random() * 0.4)
    times: list[float] = []
    pieces: list[Signal] = []
    while clock < n / rate:
        seconds = p("length", 0.5, 1.4)
        length = int(seconds * rate)
        shake = 1 + 0.02 * np.sin(2 * np.pi * tremble * np.arange(length) / rate)
        contour = pitch * shake * (1 - bend + 2 * bend * arch(length, 0.35, 0.8))
        envelope = arch(length, p("rise", 0.15, 0.5), 0.4)
        times += [clock, clock + seconds]
        gasp = int(pause * rate)
        pieces += [
            voice(p, rate, contour, envelope, formants, 300, tilt, breath),
            0.15 * noise(p.rng, gasp, rate, 1000, 5000) * arch(gasp),
        ]
        clock += seconds + pause
    return place(n, rate, times, pieces)


def _puff(p: Draw, rate: int, seconds: float, low: float, high: float, attack: float) -> Signal:
    length = int(seconds * rate)
    return noise(p.rng, length, rate, low, high, -2) * fade(length, rate, attack, seconds / 3.5)


def sneeze(p: Draw, n: int, rate: int) -> Signal:
    """A drawn-in "ah", then a burst of noise."""
    pitch, tilt = p("pitch", 180, 480), p("tilt", -8, -4)
    burst_low, burst_high = p("burst low", 800, 2200), p("burst high", 4500, 7800)
    formants = (p("formant 1", 650, 950), p("formant 2", 1100, 1800))
    times: list[float] = []
    pieces: list[Signal] = []
    for begin in at_least_one(regular_times(p.rng, n / rate, p("gap", 1.8, 4), 0.2)):
        gasp = int(p("gasp", 0.15, 0.5) * rate)
        rising = pitch * np.linspace(0.9, 1.3, gasp)
        ah = voice(p, rate, rising, np.linspace(0, 1, gasp) ** 2, formants, 200, tilt, 0.5)
        burst = _puff(p, rate, p("burst", 0.15, 0.5), burst_low, burst_high, 0.01)
        shout = int(0.15 * rate)
        cry = voice(
            p, rate, np.linspace(1.5, 0.9, shout) * pitch, arch(shout, 0.2), formants, 250, tilt, 1
        )
        start = float(begin)
        times += [start, start + gasp / rate + 0.03, start + gasp / rate + 0.02]
        pieces += [0.35 * ah, 1.4 * burst, p("voice", 0.2, 1.0) * cry]
    return place(n, rate, times, pieces)


def cough(p: Draw, n: int, rate: int) -> Signal:
    """Coughs: two to four hoarse bursts in a row."""
    low, high = p("low", 250, 600), p("high", 1800, 4200)
    pitch, voiced = p("pitch", 110, 300), p("voiced", 0.1, 0.9)
    formants = (p("formant 1", 500, 900), p("formant 2", 1200, 1900))
    times: list[float] = []
    pieces: list[Signal] = []
    for begin in at_least_one(regular_times(p.rng, n / rate, p("gap", 1.4, 3.0), 0.2)):
        clock = float(begin)
        for seconds in p.each("length", 0.12, 0.3, round(p("bursts", 1.6, 4.4))):
            puff = _puff(p, rate, seconds, low, high, 0.004)
            bow = arch(puff.size, 0.15)
            hoarse = voice(
                p,
                rate,
                pitch * (0.8 + 0.3 * bow),
                bow * 0.7,
                formants,
                250,
                -5,
                p("breath", 0.4, 1),
            )
            times.append(clock)
            pieces.append(puff + voiced * hoarse)
            clock += seconds + p("pause", 0.06, 0.25)
    return place(n, rate, times, pieces)


def footsteps(p: Draw, n: int, rate: int) -> Signal:
    """Steps: a heel's thud and a short scuff, left and right a little different."""
    times = regular_times(p.rng, n / rate, p("gap", 0.32, 0.75), p("jitter", 0, 0.12))
    thud, decay = p("thud", 70, 230), p("decay", 0.015, 0.06)
    scuff_low, scuff_high = p("scuff low", 500, 1800), p("scuff high", 2500, 6500)
    scuff, length = p("scuff", 0.15, 0.8), int(p("scuff length", 0.04, 0.13) * rate)
    pieces = []
    for step, level in enumerate(p.each("level", 0.6, 1.2, times.size)):
        pitch = thud * (1.0 if step % 2 else 1.08)
        body = sine(np.full(int(5 * decay * rate), pitch), rate)
        body = body * fade(body.size, rate, 0.002, decay)
        whole = np.zeros(max(body.size, length + int(0.02 * rate)))
        whole[: body.size] += body
        rub = noise(p.rng, length, rate, scuff_low, scuff_high) * arch(length, 0.2)
        whole[int(0.02 * rate) :][:length] += scuff * rub
        pieces.append(level * whole)
    return place(n, rate, times, pieces)


def applause(p: Draw, n: int, rate: int) -> Signal:
    """A crowd clapping: hundreds of hollow claps a second."""
    claps = grains(
        p.rng,
        n,
        rate,
        p("claps", 50, 400),
        p.each("pitch", 700, 2800, 8),
        p.each("decay", 0.002, 0.009, 8),
        loudness=0.5,
    )
    crowd = noise(p.rng, n, rate, 500, p("crowd high", 2500, 6000), -2)
    swell = 1 + p("depth", 0.05, 0.4) * wander(p.rng, n, rate, p("swell", 0.3, 1.5))
    return swell * (unit(claps) + p("crowd", 0.05, 0.4) * crowd)


def heartbeat(p: Draw, n: int, rate: int) -> Signal:
    """Two dull thumps a beat."""
    gap = p("gap", 0.5, 1.1)
    times = regular_times(p.rng, n / rate, gap)
    pitch, decay = p("pitch", 45, 95), p("decay", 0.025, 0.06)
    length = int(5 * decay * rate)
    thump = sine(pitch * np.linspace(1.2, 0.8, length), rate) * fade(length, rate, 0.012, decay)
    second = p("second", 0.4, 0.9) * thump
    split = p("split", 0.25, 0.36) * gap
    beats = place(
        n,
        rate,
        np.concatenate([times, times + split]),
        [thump] * times.size + [second] * times.size,
    )
    return beats + p("flow", 0.003, 0.03) * noise(p.rng, n, rate, 30, 250, -4)


def whistle(p: Draw, n: int, rate: int) -> Signal:
    """Someone whistling: one gliding pure tone after another, with vibrato."""
    pitch = p("pitch", 900, 2400)
    vibrato, depth = p("vibrato", 4, 7.5), p("depth", 0.003, 0.025)
    clock = float(p.rng.random() * 0.3)
    times: list[float] = []
    pieces: list[Signal] = []
    height = 1.0
    while clock < n / rate:
        seconds = p("length", 0.15, 0.9)
        length = int(seconds * rate)
        target = p("interval", 0.75, 1.33)
        glide = height + (target - height) * np.clip(np.arange(length) / (0.06 * rate), 0, 1)
        shake = 1 + depth * np.sin(2 * np.pi * vibrato * np.arange(length) / rate)
        tone = sine(np.minimum(pitch * glide * shake, 0.47 * rate), rate)
        air = p("air", 0.01, 0.08) * noise(p.rng, length, rate, 800, 5000)
        times.append(clock)
        pieces.append((tone + air) * arch(length, 0.2, 0.3))
        height = target
        clock += seconds + p("pause", 0.02, 0.25)
    return place(n, rate, times, pieces)


def snore(p: Draw, n: int, rate: int) -> Signal:
    """Snores: low rattling on every breath in, a soft sigh on the way out."""
    gap = p("gap", 1.8, 3.4)
    times = at_least_one(regular_times(p.rng, n / rate, gap, 0.1))
    pitch, rattle = p("pitch", 35, 95), p("rattle", 0.4, 1.2)
    formants = (p("formant 1", 250, 500), p("formant 2", 800, 1400))
    sigh = p("sigh", 0.08, 0.35)
    pieces: list[Signal] = []
    for seconds in p.each("length", 0.7, 1.5, times.size):
        length = int(seconds * rate)
        throat = buzz(pitch * (1 + 0.1 * wander(p.rng, length, rate, 6)), rate, -1)
        air = rattle * noise(p.rng, length, rate, 100, 2500, -4)
        pieces.append(
            unit(resonate(throat + air, rate, formants, (160, 300))) * arch(length, 0.5, 0.6)
        )
    out = int(0.9 * rate)
    sighs: list[Signal] = [sigh * noise(p.rng, out, rate, 300, 2500, -3) * arch(out) for _ in times]
    return place(n, rate, np.concatenate([times, times + 0.55 * gap]), pieces + sighs)


def laughter(p: Draw, n: int, rate: int) -> Signal:
    """Laughing: short voiced syllables in fast, falling series."""
    pitch, speed = p("pitch", 170, 420), p("speed", 3.8, 6)
    formants = (p("formant 1", 600, 950), p("formant 2", 1100, 1900), p("formant 3", 2400, 3000))
    times: list[float] = []
    pieces: list[Signal] = []
    for begin in at_least_one(regular_times(p.rng, n / rate, p("gap", 1.6, 2.8), 0.2)):
        for note in range(round(p("syllables", 3.6, 8.4))):
            length = int(0.6 / speed * rate)
            contour = pitch * 0.95**note * (0.85 + 0.3 * arch(length, 0.3))
            times.append(float(begin) + note / speed)
            pieces.append(
                voice(p, rate, contour, arch(length, 0.3), formants, 200, -6, p("breath", 0.2, 0.7))
            )
    return place(n, rate, times, pieces)


KINDS = {
    "baby": baby,
    "sneeze": sneeze,
    "cough": cough,
    "footsteps": footsteps,
    "applause": applause,
    "heartbeat": heartbeat,
    "whistle": whistle,
    "snore": snore,
    "laughter": laughter,
}
