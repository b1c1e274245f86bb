"""Which files of a manifest hold the same rows: captions, and the embeddings made from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cache_store.manifest import FileEntry, Manifest
from cache_store.shards import read_footer, read_table


@dataclass(frozen=True)
class Unit:
    """The files of the same captions.

    Attributes:
        captions: The texts; None where they came with embeddings.
        data: The texts with their embeddings; None while they are not embedded.
    """

    captions: FileEntry | None
    data: FileEntry | None

    @property
    def texts(self) -> FileEntry:
        """The file to read the texts from."""
        found = self.captions or self.data
        if found is None:
            raise ValueError("a unit has one file at least")
        return found

    @property
    def rows(self) -> int:
        """How many captions."""
        return self.texts.rows

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """One or two."""
        return tuple(entry for entry in (self.captions, self.data) if entry is not None)


def units_of(manifest: Manifest) -> tuple[Unit, ...]:
    """Return a manifest's files by rows: first what is embedded, in row order, then the rest."""
    by_hash = {entry.sha256: entry for entry in manifest.captions}
    embedded = [Unit(by_hash.get(entry.source), entry) for entry in manifest.data]
    done = {entry.source for entry in manifest.data}
    waiting = [Unit(entry, None) for entry in manifest.captions if entry.sha256 not in done]
    return (*embedded, *waiting)


def ids_of(folder: Path, entry: FileEntry) -> pa.ChunkedArray:
    """Return the ids in a file of captions or data, in its order."""
    return read_table(folder / entry.path, ["id"]).column("id")


def precision_of(folder: Path, files: Iterable[FileEntry]) -> str:
    """In which precision the model computed these data files; "" if it differs or is not known.

    Raises:
        DamagedError: If the end of a file, where that stands, cannot be read.
    """
    found = {read_footer(folder / one.path).metadata.get("lqtse.precision", "") for one in files}
    return found.pop() if len(found) == 1 else ""


def without(table: pa.Table, removed: Collection[str]) -> pa.Table:
    """Return the rows of a table whose id is not among these, in their order."""
    if not removed:
        return table
    return table.filter(pc.invert(is_among(table.column("id"), removed)))


def is_among(ids: pa.ChunkedArray, some: Collection[str]) -> pa.ChunkedArray:
    """Return for each id whether it is among these."""
    return pc.is_in(ids, value_set=pa.array(sorted(some), pa.string()))
