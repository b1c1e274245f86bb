"""A folder of recordings, read recursively, in the order of their relative paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cache_store.errors import DataError, EmptyInputError, storage_errors

# Extensions of the containers that libsndfile opens by their content. Left out: headerless
# formats (`.raw`), whose rate nobody knows, and `.mat`, which is mostly not audio.
EXTENSIONS = frozenset(
    {
        *("wav", "wave", "w64", "rf64", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc"),
        *("au", "snd", "caf", "sph", "nist", "voc", "svx", "iff", "avr", "paf", "pvf", "ircam"),
        *("sf", "sds", "xi", "htk", "wve", "sd2"),
    }
)


def recordings(folder: Path) -> list[Path]:
    """Every recording below a folder, relative to it, sorted by its POSIX form.

    Links to folders are followed, each folder once; hidden files and folders are left out.

    Raises:
        EmptyInputError: If there is none.
        DataError: For a file name that is not UTF-8: it could not be written to any table.
    """
    found = [path for path in _files(folder) if path.suffix[1:].lower() in EXTENSIONS]
    for path in found:
        try:
            path.as_posix().encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                "a file name is not UTF-8", where=repr(os.fsencode(folder / path)), hint="Rename it"
            ) from error
    if not found:
        raise EmptyInputError(
            "no recordings found",
            where=folder,
            expected="files such as .wav, .flac, .ogg or .mp3, searched recursively",
        )
    return sorted(found, key=Path.as_posix)


def _files(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    with storage_errors(folder):
        for root, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
            status = Path(root).stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            # Sorted, so that of two links to one folder always the same is followed.
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            here = Path(root).relative_to(folder)
            yield from (here / name for name in files if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error
