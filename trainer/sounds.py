"""Write what was evaluated as files to listen to: mixture, target and estimate of each mixture.

Letters: M mixtures, T samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import storage_errors
from trainer.audio_out import open_audio

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.validate import HeldOut

PARTS = ("mixture", "target", "estimate")


def sound_path(folder: Path, mixture: int, part: str) -> Path:
    """Where one part (see `PARTS`) of a mixture lies, by its number in the results' CSV."""
    return folder / f"{mixture:04d}-{part}.wav"


def write_sounds(
    folder: Path, held_out: HeldOut, estimates: Tensor, *, sample_rate: int, count: int
) -> int:
    """Write the first `count` mixtures as 32-bit float WAV files, three for each.

    Args:
        folder: Made if missing; files of the same names are replaced.
        held_out: The mixtures.
        estimates: What the separator made of them. `[M, T]`
        sample_rate: In Hz.
        count: How many mixtures, at most all.

    Returns:
        How many mixtures were written.

    Raises:
        StorageError: The place cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    waves = dict(zip(PARTS, (held_out.mixtures, held_out.targets, estimates), strict=True))
    written = min(count, len(held_out))
    for index in range(written):
        for part, wave in waves.items():
            with open_audio(sound_path(folder, index, part), sample_rate, 1) as file:
                file.write(wave[index : index + 1].numpy())
    return written
