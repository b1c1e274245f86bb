"""What a server remembers: a file beside the folder that has accidents, beyond their reach.

One line a call, so that the first lines of it are what the server knew at an earlier moment.
"""

from __future__ import annotations

import shutil
from pathlib import Path


def memory_of(place: Path) -> Path:
    """The file that belongs to the folder around a cache; its name does not begin as that does."""
    return place.with_name(f"server of {place.name}")


def lines_of(place: Path) -> list[bytes]:
    """Its lines; [] without a server."""
    path = memory_of(place)
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def put_lines(place: Path, lines: list[bytes]) -> None:
    """Let the server know this and no more."""
    if lines:
        memory_of(place).write_bytes(b"".join(lines))


def clone(place: Path, other: Path) -> None:
    """Copy a folder, and what the server knows."""
    shutil.copytree(place, other)
    put_lines(other, lines_of(place))


def drop(place: Path) -> None:
    """Remove a folder, and what the server knows."""
    shutil.rmtree(place)
    memory_of(place).unlink(missing_ok=True)
