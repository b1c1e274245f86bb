"""The clips that training draws from: synthesised and real ones, as float16 log-mels in memory.

Procedural clips are never changed in speed or pitch, since that would carry them out of the
training split's parameter ranges; real recordings are. Both may get a room's reverberation.

Letters: N clips, F bands, L frames, T samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from cache_store.errors import DataError, EmptyInputError
from cache_store.spaces.audio import fill, prepare
from cache_store.spaces.tiny import features
from cache_store.spaces.tiny.sounds import TRAINED_KINDS, synthesise

FRAMES = 1 + features.WINDOW // features.HOP
_SYNTHETIC, _REAL = 0x5EED, 0x4EA1

# Folder names and labels of ESC-10 and the kinds that they are.
ESC_LABELS = {
    "chainsaw": "chainsaw",
    "clock_tick": "clock",
    "crackling_fire": "fire",
    "crying_baby": "baby",
    "dog": "dog",
    "helicopter": "helicopter",
    "rain": "rain",
    "rooster": "rooster",
    "sea_waves": "waves",
    "sneezing": "sneeze",
}


@dataclass(frozen=True)
class Pool:
    """Clips of known kinds.

    Attributes:
        mels: dB, float16. Shape: [N, F, L].
        kinds: Index of each clip's kind in `TRAINED_KINDS`. Shape: [N].
        real: Whether a clip is a real recording. Shape: [N].
    """

    mels: NDArray[np.float16]
    kinds: NDArray[np.int64]
    real: NDArray[np.bool_]


@dataclass(frozen=True)
class Recording:
    """One labelled real recording."""

    path: Path
    kind: str


def read_recordings(folder: Path, folds: Sequence[int]) -> list[Recording]:
    """The recordings of an ESC-10 folder (`<class>/<fold>-*.ogg`) in some folds, by path.

    Raises:
        EmptyInputError: There are none.
    """
    found = [
        Recording(path, kind)
        for label, kind in sorted(ESC_LABELS.items())
        for path in sorted((folder / label).glob("*.*"))
        if path.name[:1].isdigit() and int(path.name[0]) in folds
    ]
    if not found:
        raise EmptyInputError(
            "no ESC-10 recordings",
            where=folder,
            expected="<class>/<fold>-<id>.ogg",
            found="no such file",
        )
    return found


def decode(path: Path) -> NDArray[np.float32]:
    """A recording at the model's sample rate, mono.

    Raises:
        DataError: It cannot be read.
    """
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise DataError("cannot decode this recording", where=path) from error
    return prepare(samples.T, rate, features.SAMPLE_RATE, where=str(path))


def reverberate(waveform: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Put a clip into a room: decaying noise of 0.1 to 0.9 s, from faint to louder than direct."""
    seconds = rng.uniform(0.1, 0.9)
    time = np.arange(int(seconds * features.SAMPLE_RATE)) / features.SAMPLE_RATE
    tail = rng.standard_normal(time.size) * np.exp(-6.9 * time / seconds)
    # A room swallows high frequencies first: smooth the tail a little.
    tail = np.convolve(tail, np.ones(3) / 3, "same")
    tail *= rng.uniform(0.1, 1.0) / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    return fftconvolve(waveform, tail)[: waveform.size].astype(np.float32)


def _mel(waveform: NDArray[np.float32]) -> NDArray[np.float16]:
    window = np.array(fill(waveform[: features.WINDOW], features.WINDOW, "pad"))
    with torch.inference_mode():
        return features.mel_db(torch.from_numpy(window)[None])[0].half().numpy()


def _varied(recording: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A real recording at another speed (and pitch) by up to 20 %, in a room half of the time."""
    import soxr

    speed = float(np.exp(rng.uniform(-0.18, 0.18)))
    changed = soxr.resample(recording, features.SAMPLE_RATE * speed, features.SAMPLE_RATE)
    if rng.random() < 0.5:
        changed = reverberate(changed, rng)
    return np.asarray(changed, dtype=np.float32)


def build_pool(
    per_kind: int,
    recordings: Sequence[Recording],
    variants: int,
    seed: int,
    advance: Callable[[int], None] = lambda n: None,
) -> Pool:
    """Synthesise and decode everything that training hears.

    Args:
        per_kind: Procedural clips of every trained kind.
        recordings: Real recordings to add.
        variants: How many versions of each recording; the first one is the recording itself.
        seed: Of everything random; each clip has a stream of its own.
        advance: Called with the number of clips done since the last call.
    """
    mels: list[NDArray[np.float16]] = []
    kinds: list[int] = []
    real: list[bool] = []
    for number, kind in enumerate(TRAINED_KINDS):
        for index in range(per_kind):
            rng = np.random.default_rng([seed, _SYNTHETIC, number, index])
            clip = synthesise(kind, rng, split="train", seconds=features.WINDOW_SECONDS)
            mels.append(_mel(reverberate(clip, rng) if rng.random() < 0.3 else clip))
            kinds.append(number)
            real.append(False)
            advance(1)
    for number, recording in enumerate(recordings):
        samples = decode(recording.path)
        for variant in range(variants):
            rng = np.random.default_rng([seed, _REAL, number, variant])
            mels.append(_mel(_varied(samples, rng) if variant else samples))
            kinds.append(TRAINED_KINDS.index(recording.kind))
            real.append(True)
            advance(1)
    return Pool(np.stack(mels), np.array(kinds), np.array(real))
