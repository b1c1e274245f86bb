"""Folders of procedural recordings: what the demo and the tests use as "unlabelled audio".

The WAV files carry neutral names, so that nothing can be learnt from them; what they are stands in
`truth.csv` beside them (`path,label,caption,fold`), for evaluation only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cache_store.errors import UsageError, storage_errors
from cache_store.spaces.tiny.sounds import KINDS, phrases, synthesise

TRUTH = "truth.csv"
FOLDS = 5
_PURPOSE = 0x7EC0  # keeps these streams apart from others grown from the same seed


def write_recordings(
    folder: str | Path,
    kinds: Sequence[str],
    per_kind: int,
    seed: int,
    split: str = "demo",
    seconds: float = 5.0,
    sample_rate: int = 16000,
) -> Path:
    """Write `per_kind` 16-bit recordings of each kind, in shuffled order, and their truth.

    Clip i of a kind depends only on (seed, kind, i, split, seconds, sample_rate), and its fold is
    1 + i mod 5: asking for more clips or kinds changes names and order, never a sound.

    Args:
        folder: Where to write; made if missing, existing files of the same names are replaced.
        kinds: Kinds of sound, see `sounds.KINDS`.
        per_kind: Recordings of each kind.
        seed: Of everything random.
        split: Whose parameter ranges to draw from.
        seconds: Length of each.
        sample_rate: In Hz.

    Returns:
        The path of the manifest `truth.csv`, whose `path` column is relative to it.

    Raises:
        UsageError: For an unknown kind, a repeated kind, or nothing to write.
        StorageError: When the folder cannot be written.
    """
    import soundfile

    if not kinds or per_kind < 1:
        raise UsageError("nothing to write: give at least one kind and one recording of each")
    if len(set(kinds)) != len(kinds):
        raise UsageError("kinds must differ from each other", found=", ".join(kinds))
    root = Path(folder)
    clips = [(kind, index) for kind in kinds for index in range(per_kind)]
    order = np.random.default_rng([seed, _PURPOSE]).permutation(len(clips))
    digits = max(4, len(str(len(clips))))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["path", "label", "caption", "fold"])
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        for position, clip in enumerate(order):
            kind, index = clips[clip]
            number = KINDS.index(kind) if kind in KINDS else 0
            rng = np.random.default_rng([seed, _PURPOSE, number, index])
            waveform = synthesise(kind, rng, split=split, seconds=seconds, sample_rate=sample_rate)
            name = f"recording-{position + 1:0{digits}d}.wav"
            soundfile.write(root / name, waveform, sample_rate, subtype="PCM_16")
            plain = phrases(kind)
            rows.writerow([name, kind, plain[index % min(len(plain), 12)], 1 + index % FOLDS])
        truth = root / TRUTH
        truth.write_text(table.getvalue(), encoding="utf-8")
    return truth
