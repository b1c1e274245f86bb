"""Procedural sounds: more than fifty kinds, random parameters, no two clips alike.

`synthesise` makes one clip of a kind from a generator; the values it draws depend on the split
(`ranges`), so that what `train` hears and what `demo` is made of have no parameter value in
common. Some kinds are never used for training at all (`HELD_OUT_KINDS`): they show what the model
makes of sounds that it has not met. The cost is a few milliseconds a clip of five seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import UsageError
from cache_store.spaces.tiny import captions
from cache_store.spaces.tiny.kinds import animals, home, machines, music, nature, people
from cache_store.spaces.tiny.ranges import SPLITS, Draw
from cache_store.spaces.tiny.synthesis import Signal

__all__ = ["HELD_OUT_KINDS", "KINDS", "SPLITS", "TRAINED_KINDS", "phrases", "synthesise"]

Maker = Callable[[Draw, int, int], Signal]

_MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        **nature.KINDS,
        **animals.KINDS,
        **people.KINDS,
        **machines.KINDS,
        **home.KINDS,
        **music.KINDS,
    }
)
HELD_OUT_KINDS: tuple[str, ...] = (
    "stream",
    "owl",
    "sheep",
    "woodpecker",
    "laughter",
    "motorcycle",
    "drill",
    "gong",
    "violin",
)
TRAINED_KINDS: tuple[str, ...] = tuple(kind for kind in _MAKERS if kind not in HELD_OUT_KINDS)
KINDS: tuple[str, ...] = TRAINED_KINDS + HELD_OUT_KINDS

LOWEST_RATE = 8000  # below it, several kinds have nothing left to hear


def synthesise(
    kind: str,
    rng: np.random.Generator,
    *,
    split: str = "train",
    seconds: float = 5.0,
    sample_rate: int = 16000,
) -> NDArray[np.float32]:
    """One clip of a kind of sound.

    Args:
        kind: One of `KINDS`.
        rng: The source of all randomness.
        split: Whose parameter ranges to draw from: one of `SPLITS`.
        seconds: Length, at least 0.1.
        sample_rate: In Hz, at least 8,000.

    Shape:
        - output: [T] float32 within [-1, 1], its peak between 0.2 and 0.95

    Raises:
        UsageError: For an unknown kind or split, a length or a rate that cannot work.
    """
    return render(kind, Draw(rng, split), seconds=seconds, sample_rate=sample_rate)


def render(
    kind: str, draw: Draw, *, seconds: float = 5.0, sample_rate: int = 16000
) -> NDArray[np.float32]:
    """Like `synthesise`, from a `Draw` that afterwards tells which parameters were drawn."""
    maker = _maker(kind)
    if seconds < 0.1:
        raise UsageError("seconds must be at least 0.1", found=seconds)
    if sample_rate < LOWEST_RATE:
        raise UsageError(f"sample_rate must be at least {LOWEST_RATE} Hz", found=sample_rate)
    signal = maker(draw, round(seconds * sample_rate), sample_rate)
    peak = draw("peak", 0.2, 0.95)
    return (signal * (peak / max(float(np.abs(signal).max()), 1e-9))).astype(np.float32)


def phrases(kind: str) -> tuple[str, ...]:
    """Natural captions of a kind: labels, noun phrases, sentences, queries; the plainest first."""
    _maker(kind)
    return captions.phrases(kind)


def _maker(kind: str) -> Maker:
    try:
        return _MAKERS[kind]
    except KeyError:
        raise UsageError(
            "unknown kind of sound", expected=f"one of {', '.join(KINDS)}", found=kind
        ) from None
