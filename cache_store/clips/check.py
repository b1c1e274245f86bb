"""Which clips can be used: every sample is read once, and every refusal has a name and a reason.

Nothing is replaced or dropped in silence. A clip is refused if it is missing or unreadable, has no
samples, holds samples that are not finite, ends before its header says, or is silent throughout.
Reads in pieces of a minute, so memory does not grow with length; files are read in parallel
threads (decoding releases the interpreter's lock) and reported in table order.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache_store.clips.decode import AudioInfo, decode, probe, resampled_length
from cache_store.clips.table import ClipTable
from cache_store.console import progress
from cache_store.errors import AudioError, EmptyInputError, storage_errors

PIECE_SECONDS = 60.0
SILENCE = 1e-4  # of full scale, -80 dB: below one 14-bit step, and not heard
_MISSING_SHARE, _MISSING_SECONDS = 0.01, 0.1


@dataclass(frozen=True)
class ClipReject:
    """A clip that cannot be used.

    Attributes:
        name: The clip's name in its table.
        reason: Why, as a short clause.
    """

    name: str
    reason: str


def usable(
    table: ClipTable,
    *,
    sample_rate: int | None = None,
    samples: bool = True,
    workers: int | None = None,
) -> tuple[ClipTable, list[ClipReject]]:
    """Keep the clips that can be decoded, and name the others.

    Args:
        table: The clips.
        sample_rate: The rate at which they will be used, in Hz: a clip may be silent at 8 kHz that
            is not at 44.1 kHz. None checks them at their own rates.
        samples: Whether to read every sample; False trusts the headers (length and readability).
        workers: Threads; by default one a processor, at most 16.

    Returns:
        The usable clips with a column `seconds`, and the rejects, both in table order.

    Raises:
        EmptyInputError: If no clip is usable; names the first and its reason.
    """
    unique = dict(zip(table.names, table.paths, strict=True))
    workers = workers or min(os.cpu_count() or 1, 16)

    def check(path: Path) -> AudioInfo | str:
        return _check(path, sample_rate, samples)

    verdicts: dict[str, AudioInfo | str] = {}
    with (
        ThreadPoolExecutor(workers) as pool,
        progress("check", len(unique), "clips") as advance,
    ):
        for name, verdict in zip(unique, pool.map(check, unique.values()), strict=True):
            verdicts[name] = verdict
            advance()
    rejects = [ClipReject(name, why) for name, why in verdicts.items() if isinstance(why, str)]
    infos = [verdicts[name] for name in table.names]
    rows = [row for row, info in enumerate(infos) if isinstance(info, AudioInfo)]
    if not rows:
        first = f"{rejects[0].name} {rejects[0].reason}" if rejects else "the table is empty"
        raise EmptyInputError(
            f"none of {len(unique)} clips can be used", where=table.source or None, found=first
        )
    seconds = [info.seconds for info in infos if isinstance(info, AudioInfo)]
    return table.select(rows).with_column("seconds", tuple(seconds)), rejects


def write_rejects(path: str | Path, rejects: Iterable[ClipReject]) -> None:
    """Write rejects as CSV (name, reason), replacing what was there.

    Raises:
        StorageError: If the file cannot be written.
    """
    with storage_errors(path), Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "reason"])
        writer.writerows([reject.name, reject.reason] for reject in rejects)


def _check(path: Path, sample_rate: int | None, samples: bool) -> AudioInfo | str:
    """The header of a usable clip, or why it is none."""
    try:
        info = probe(path)
        if info.frames == 0:
            return "has no samples"
        return (samples and _fault(path, info, sample_rate or info.sample_rate)) or info
    except AudioError as error:
        return error.what


def _fault(path: Path, info: AudioInfo, sample_rate: int) -> str | None:
    expected = resampled_length(info.frames, info.sample_rate, sample_rate)
    found, peak = 0, 0.0
    for piece in range(int(info.seconds // PIECE_SECONDS) + 1):
        wave = decode(path, sample_rate, start=piece * PIECE_SECONDS, seconds=PIECE_SECONDS)
        found += len(wave)
        peak = max(peak, peak_of(wave))
    return judge(info, sample_rate, expected, found, peak)


def judge(info: AudioInfo, sample_rate: int, expected: int, found: int, peak: float) -> str | None:
    """Why a recording that can be decoded cannot be used; None if it can.

    Args:
        info: Its header.
        sample_rate: At which it was decoded, in Hz.
        expected: Samples that there should be, by the header.
        found: Samples that there were.
        peak: The largest of their absolute values.
    """
    missing = expected - found
    if missing > max(_MISSING_SHARE * expected, _MISSING_SECONDS * sample_rate):
        return f"ends early: {found / sample_rate:.2f} s of the {info.seconds:.2f} s in its header"
    if peak < SILENCE:
        return f"is silent at {sample_rate} Hz"
    return None


def peak_of(wave: Sequence[float] | np.ndarray) -> float:
    """The largest absolute value of samples [T]; 0 for none."""
    array = np.asarray(wave)
    return float(max(array.max(), -array.min())) if array.size else 0.0
