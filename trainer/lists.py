"""The evaluation lists of the field: which mixtures, made of what, and how scores are averaged.

Five forms are told apart by their header, and one by what lies in the audio folder:

    file_id, mix_wav, s0_wav, s0_text, ...     mixtures that are files (VGGSound)
    idx, caption, src_wav, noise_wav           where "noise" is the mixture, ...,mixture.wav
                                               (AudioSet)
    idx, caption, ..., src_wav, noise_wav...   segment-IDX.wav and mixture-IDX.wav, as AudioSep's
                                               evaluation has them, where the folder holds these;
                                               else mixed here (AudioCaps, Clotho, ESC-50, MUSIC)
    source, noise, snr, caption                mixed here at the list's own SNR (DCASE 2024, task 9)

Averages are the published ones: the mean over rows; for MUSIC the mean of the classes' means; for
AudioSet the mean of the classes' medians. Rows whose audio is not there are left out, and counted.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cache_store.errors import DataError, UsageError

AVERAGES = ("mean", "class-means", "class-medians")
_AUDIO = frozenset({".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff"})


@dataclass(frozen=True)
class ListRow:
    """One mixture.

    Attributes:
        name: Of the row, to tell it from the others.
        query: What to ask with.
        target: The recording that is asked for.
        mixture: The mixture, where it is a file.
        noises: What it is to be mixed with, where it is not.
        snr: Of the target against the noises, in dB, where the list says it.
    """

    name: str
    query: str
    target: Path
    mixture: Path | None = None
    noises: tuple[Path, ...] = ()
    snr: float | None = None


@dataclass(frozen=True)
class EvalList:
    """A list, as far as its audio is there.

    Attributes:
        rows: Those with all of their audio.
        total: How many the list has.
        missing: Names of files that were looked for and not found, sorted.
        average: How scores are averaged, one of `AVERAGES`.
        mixed_here: Whether the mixtures are made here.
    """

    rows: tuple[ListRow, ...]
    total: int
    missing: tuple[str, ...]
    average: str
    mixed_here: bool


def read_list(path: str | Path, audio: str | Path, query: str = "caption") -> EvalList:
    """Read a list and find its audio.

    Args:
        path: The CSV file.
        audio: The folder that its files lie in, at any depth; other endings than the list's will
            do (`1-100032-A-0.ogg` for `1-100032-A-0.wav`).
        query: The column to ask with, where a list has several (`caption`, `labels`).

    Raises:
        DataError: If the file is no such list, or none of its audio is there.
        UsageError: If the folder is missing, or the list has no such column.
    """
    path, folder = Path(path), Path(audio)
    if not folder.is_dir():
        raise UsageError("the audio of a list is a folder", where=folder)
    entries = _entries(path)
    files = _Files(folder)
    names = set(entries[0])
    premixed = {"mix_wav", "s0_wav", "s0_text"} <= names
    dcase = {"source", "noise", "snr", "caption"} <= names
    if not premixed and not dcase and not {"idx", "caption", "src_wav"} <= names:
        raise DataError(
            "not an evaluation list that is known",
            where=path,
            expected="columns such as idx, caption, src_wav, noise_wav",
            found=", ".join(entries[0]),
        )
    column = "s0_text" if premixed else query
    if column not in names:
        raise UsageError("the list has no such column to ask with", where=path, found=column)
    segments = any(files.find(f"segment-{entry.get('idx')}.wav") for entry in entries[:50])
    rows = []
    for number, entry in enumerate(entries):
        if premixed:
            row = _of_files(
                entry["file_id"], entry[column], entry["s0_wav"], entry["mix_wav"], files
            )
        elif dcase:
            row = _dcase(number, entry, files)
        elif entry.get("noise_wav", "").endswith("mixture.wav"):
            name = Path(entry["src_wav"]).name
            row = _of_files(name, entry[column], entry["src_wav"], entry["noise_wav"], files)
        elif segments:
            stem = f"{entry['idx']}.wav"
            row = _of_files(
                entry["idx"], entry[column], f"segment-{stem}", f"mixture-{stem}", files
            )
        else:
            row = _mixed(entry, column, files)
        rows += [row] if row is not None else []
    if not rows:
        raise DataError(
            "none of the list's audio is in the folder",
            where=folder,
            expected=files.missing[0] if files.missing else None,
        )
    return EvalList(
        tuple(rows),
        len(entries),
        tuple(sorted(set(files.missing))),
        _average(path, entries[0]),
        rows[0].mixture is None,
    )


def _entries(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file))
    except FileNotFoundError as error:
        raise UsageError("no such list", where=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError("the list is not a CSV file in UTF-8", where=path) from error
    if len(table) < 2:
        raise DataError("the list has no rows", where=path)
    header = _unlike(table[0])
    wrong = next((n for n, row in enumerate(table[1:], 2) if len(row) != len(header)), None)
    if wrong is not None:
        raise DataError(
            "a row of the list has another number of cells than the header",
            where=f"{path}, line {wrong}",
            expected=len(header),
            found=len(table[wrong - 1]),
        )
    return [dict(zip(header, row, strict=True)) for row in table[1:]]


def _unlike(header: list[str]) -> list[str]:
    """Names made different: Clotho's list has two columns of one name."""
    seen: dict[str, int] = {}
    names = []
    for name in (cell.strip() for cell in header):
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


class _Files:
    """Finds files in a folder by path, by the end of a path, or by name without its ending."""

    def __init__(self, folder: Path) -> None:
        self.missing: list[str] = []
        self._by_stem: dict[str, Path] = {}
        self._by_name: dict[str, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in _AUDIO:
                self._by_name.setdefault(path.name, path)
                self._by_stem.setdefault(path.stem, path)
        self._folder = folder

    def find(self, name: str) -> Path | None:
        """The file of this name, None if there is none."""
        parts = Path(name).parts
        for start in range(len(parts)):
            path = self._folder.joinpath(*parts[start:])
            if path.is_file():
                return path
        last = Path(name)
        # ESC-10 has the clips of ESC-50 without the class number at the end of their names.
        stems = (last.stem, last.stem.rpartition("-")[0])
        return self._by_name.get(last.name) or next(
            (self._by_stem[stem] for stem in stems if stem in self._by_stem), None
        )

    def all_of(self, *names: str) -> tuple[Path, ...] | None:
        """All of these files, or None; those that are missing are remembered."""
        found = [self.find(name) for name in names]
        self.missing += [name for name, path in zip(names, found, strict=True) if path is None]
        paths = tuple(path for path in found if path is not None)
        return paths if len(paths) == len(names) else None


def _of_files(name: str, query: str, target: str, mixture: str, files: _Files) -> ListRow | None:
    found = files.all_of(target, mixture)
    return None if found is None else ListRow(name, query, found[0], found[1])


def _dcase(number: int, entry: Mapping[str, str], files: _Files) -> ListRow | None:
    found = files.all_of(f"{entry['source']}.wav", f"{entry['noise']}.wav")
    if found is None:
        return None
    return ListRow(
        str(number), entry["caption"], found[0], noises=found[1:], snr=float(entry["snr"])
    )


def _mixed(entry: Mapping[str, str], column: str, files: _Files) -> ListRow | None:
    noises = [value for name, value in entry.items() if name.startswith("noise_wav")]
    found = files.all_of(entry["src_wav"], *noises)
    return (
        None if found is None else ListRow(entry["idx"], entry[column], found[0], noises=found[1:])
    )


def _average(path: Path, entry: Mapping[str, str]) -> str:
    if "class_id=" in entry.get("src_wav", ""):
        return "class-medians"
    return "class-means" if path.name.startswith("music") else "mean"
