"""A small set of recordings for tests of the trainer, each told from the others by its pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from cache_store.clips import ClipTable, read_clips
from cache_store.manifest import named_space

RATE = 8000
LABELS = ("bell", "dog", "rain")


def write_clips(folder: Path, per_label: int = 4, rate: int = 11_025) -> ClipTable:
    """`per_label` recordings of each label: a tone of 1 to 2 s, then a second of silence."""
    rng = np.random.default_rng(0)
    names, labels = [], []
    for kind, label in enumerate(LABELS):
        for number in range(per_label):
            time = np.arange(round(rate * (1 + number / per_label))) / rate
            wave = 0.3 * np.sin(2 * np.pi * (300 + 700 * kind + 90 * number) * time)
            wave += 0.003 * rng.normal(size=len(time))
            silence = np.zeros(rate)
            path = folder / label / f"{number}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.concatenate([wave, silence]), rate)
            names.append(f"{label}/{number}.flac")
            labels.append(label)
    rows = [
        f"{name},{label},a {label},{at % 4}"
        for at, (name, label) in enumerate(zip(names, labels, strict=True))
    ]
    (folder / "clips.csv").write_text("\n".join(["path,label,caption,fold", *rows]))
    return read_clips(folder / "clips.csv")


def with_embeddings(clips: ClipTable, dim: int = 6, spread: float = 0.1) -> ClipTable:
    """The clips with embeddings near one axis a label."""
    rng = np.random.default_rng(1)
    centres = np.array([LABELS.index(name.split("/")[0]) for name in clips.names])
    vectors = np.eye(dim)[centres] + spread * rng.normal(size=(len(clips), dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ClipTable(
        clips.paths,
        clips.names,
        clips.columns,
        vectors.astype(np.float32),
        named_space("test", dim),
        clips.source,
    )


def without(clips: ClipTable, *columns: str) -> ClipTable:
    """The clips without some of their columns."""
    kept = {name: values for name, values in clips.columns.items() if name not in columns}
    return ClipTable(clips.paths, clips.names, kept, clips.embeddings, clips.space, clips.source)
