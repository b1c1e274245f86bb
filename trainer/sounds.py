"""Write what was evaluated as files to listen to: mixture, target and estimate of each mixture.

Beside them `index.csv` says what they are, and `index.html` shows and plays them.

Letters: T samples.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache_store.errors import storage_errors
from cache_store.files import replace_file
from trainer.audio_out import open_audio
from trainer.places import make_folder
from trainer.sounds_page import listening_page

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = ("mixture", "target", "estimate")


@dataclass(frozen=True)
class Sounds:
    """The sounds of one mixture.

    Attributes:
        number: Of the mixture in the results.
        row: What the results say of it.
        mixture: float32 [T].
        target: float32 [T].
        estimate: float32 [T].
    """

    number: int
    row: Mapping[str, object]
    mixture: NDArray[np.float32]
    target: NDArray[np.float32]
    estimate: NDArray[np.float32]


def choose(scores: Sequence[float], count: int, *, worst: bool) -> list[int]:
    """Which mixtures to write: the first, or those with the lowest scores, the worst first.

    Args:
        scores: One a mixture.
        count: How many, at most all.
        worst: Whether the lowest scores count; of equal ones the first comes first.
    """
    numbers = range(len(scores))
    order = sorted(numbers, key=lambda number: scores[number]) if worst else numbers
    return list(order[:count])


def sound_path(folder: Path, mixture: int, part: str) -> Path:
    """Where one part (see `PARTS`) of a mixture lies, by its number in the results' CSV."""
    return folder / f"{mixture:04d}-{part}.wav"


def write_sounds(folder: Path, sounds: Iterable[Sounds], sample_rate: int, title: str) -> int:
    """Write mixtures as 32-bit float WAV files, three for each, and their index.

    Args:
        folder: Made if missing; files of the same names are replaced.
        sounds: The mixtures, in the order to show them.
        sample_rate: In Hz.
        title: Of the page.

    Returns:
        How many mixtures were written.

    Raises:
        StorageError: The place cannot be written.
    """
    make_folder(folder)
    rows: list[dict[str, object]] = []
    for one in sounds:
        waves = dict(zip(PARTS, (one.mixture, one.target, one.estimate), strict=True))
        files = {}
        for part, wave in waves.items():
            path = sound_path(folder, one.number, part)
            with open_audio(path, sample_rate, 1) as file:
                file.write(wave[np.newaxis])
            files[part] = path.name
        rows.append({**one.row, **{f"{part}_file": name for part, name in files.items()}})
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with storage_errors(folder):
        replace_file(folder / "index.csv", text.getvalue().encode())
        replace_file(folder / "index.html", listening_page(title, rows, PARTS).encode())
    return len(rows)
