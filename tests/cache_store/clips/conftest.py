"""Recordings to read: synthetic, written by the tests themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

Writer = Callable[..., Path]


def tone(
    seconds: float, sample_rate: int = 16_000, hz: float = 440.0, channels: int = 1
) -> np.ndarray:
    """A decaying tone with a little noise, [T] or [T, C]; channels differ in level."""
    rng = np.random.default_rng(int(hz))
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    wave = 0.5 * np.sin(2 * np.pi * hz * time) * np.exp(-time) + 0.01 * rng.normal(size=len(time))
    return wave if channels == 1 else np.stack([wave / (c + 1) for c in range(channels)], axis=1)


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Writes a recording below `tmp_path`; the format follows from the extension."""

    def writer(
        name: str,
        samples: np.ndarray | None = None,
        sample_rate: int = 16_000,
        subtype: str | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(1.0) if samples is None else samples, sample_rate, subtype)
        return path

    return writer
