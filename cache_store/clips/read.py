"""Any source of clips becomes one `ClipTable`.

A source is a folder (searched recursively), a manifest (CSV, TSV, JSONL, Parquet) with a column
`path` relative to the manifest or absolute, AudioSep's JSON, or a folder in the layout of Hugging
Face's audio folders (a `metadata.csv`, `.jsonl` or `.parquet` with a column `file_name`). Reading
opens no recording: `usable` does.

Letters: n clips, D embedding size.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.clips.folder import recordings
from cache_store.clips.parquet import read_parquet
from cache_store.clips.table import ClipPaths, ClipTable
from cache_store.clips.text import Columns, NameRow, read_audiosep, read_csv, read_jsonl
from cache_store.errors import DataError, SpaceMismatchError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cache_store.manifest import SpaceRecord

_KINDS = ".csv, .tsv, .jsonl, .parquet or AudioSep's .json"
_BLOCK = 4096  # rows brought to unit norm at once
# Of a norm from 1: float32 rounding of a unit vector stays well below. Such a row keeps its bits,
# so that what was written is what is read, and finds the same neighbours.
_UNIT_ALREADY = 1e-6
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def read_clips(
    source: str | Path,
    *,
    label_from_folder: bool = False,
    space_name: str | None = None,
    embeddings: bool = True,
) -> ClipTable:
    """Read a folder or a manifest.

    Args:
        source: The folder or manifest.
        label_from_folder: Whether a clip without a label takes its parent folder's name.
        space_name: Where stored embeddings came from, if the manifest does not say.
        embeddings: Whether to read stored embeddings at all.

    Returns:
        The clips, in the order of the manifest, or sorted by relative path for a folder.

    Raises:
        UsageError: For a source that is not there or of an unknown kind, or embeddings that do
            not say where they came from.
        EmptyInputError: For a folder without recordings, or a manifest without rows.
        DataError: For a manifest without paths, or damaged; says which row.
        SpaceMismatchError: If `space_name` contradicts the manifest.
    """
    source = Path(source)
    if not source.exists():
        raise UsageError(
            "no such folder or manifest", where=source, hint=f"Give a folder, or {_KINDS}"
        )
    if source.is_dir():
        metadata = next((source / name for name in _METADATA if (source / name).is_file()), None)
        if metadata is None:
            return _from_folder(source, label_from_folder)
        source = metadata
    columns, name_row, matrix, facts = _read_manifest(source, embeddings)
    base = Path(os.path.abspath(source.parent)).as_posix()  # noqa: PTH100 - keeps links
    names = tuple(
        _name(cell, base, source, name_row, row)
        for row, cell in enumerate(_path_column(columns, source))
    )
    if label_from_folder:
        columns["label"] = _labels(base, names, columns.get("label"))
    space = None
    if matrix is not None:
        space = _space(facts, space_name, matrix.shape[1], source)
        matrix = _unit(matrix, source, name_row)
    return ClipTable(
        ClipPaths(source.parent, names),
        names,
        {name: tuple(values) for name, values in columns.items()},
        matrix,
        space,
        str(source),
        {name: value for name, value in facts.items() if name.startswith("lqtse.")},
    )


def _from_folder(folder: Path, label_from_folder: bool) -> ClipTable:
    names = tuple(path.as_posix() for path in recordings(folder))
    base = Path(os.path.abspath(folder)).as_posix()  # noqa: PTH100 - keeps links
    columns = {"label": tuple(_labels(base, names, None))} if label_from_folder else {}
    return ClipTable(ClipPaths(folder, names), names, columns, source=str(folder))


def _read_manifest(
    path: Path, embeddings: bool
) -> tuple[Columns, NameRow, NDArray[np.float32] | None, dict[str, str]]:
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return read_parquet(path, embeddings=embeddings)
    if suffix in (".csv", ".tsv"):
        columns, name_row = read_csv(path, "\t" if suffix == ".tsv" else ",")
    elif suffix in (".jsonl", ".ndjson"):
        columns, name_row = read_jsonl(path)
    elif suffix == ".json":
        columns, name_row = read_audiosep(path)
    else:
        raise UsageError("not a manifest that can be read", where=path, expected=_KINDS)
    if "embedding" in columns:
        cells = columns.pop("embedding")
        if embeddings:
            return columns, name_row, _matrix(cells, path, name_row), {}
    return columns, name_row, None, {}


def _matrix(cells: Sequence[Any], path: Path, name_row: NameRow) -> NDArray[np.float32]:
    """Embeddings from JSON lists; CSV has no way of its own to write a vector."""
    for row, cell in enumerate(cells):
        if not isinstance(cell, list) or len(cell) != len(cells[0]) or not len(cell):
            raise DataError(
                f"{name_row(row)} has no embedding, or one of another length",
                where=path,
                hint="Embeddings are read from Parquet, or from lists of numbers in JSONL",
            )
    try:
        return np.asarray(cells, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError("the embeddings are not lists of numbers", where=path) from error


def _path_column(columns: Columns, source: Path) -> list[Any]:
    for name in ("path", "file_name"):
        if name in columns:
            return columns.pop(name)
    raise DataError(
        "the manifest has no column `path`", where=source, found=", ".join(columns) or "no columns"
    )


def _name(cell: Any, base: str, source: Path, name_row: NameRow, row: int) -> str:
    """A clip's name: its path relative to the manifest's folder where it lies below, else absolute.

    Plain string work: pathlib would take most of the time that a manifest of a million rows needs.
    """
    if not isinstance(cell, str) or not cell.strip() or "\0" in cell:
        raise DataError(f"{name_row(row)} has no path", where=source, found=repr(cell))
    if "//" in cell or "./" in cell:
        cell = PurePosixPath(cell).as_posix()
    return cell.removeprefix(base + "/")


def _labels(base: str, names: Sequence[str], labels: Sequence[Any] | None) -> list[Any]:
    """The label of each clip, or its parent folder's name."""
    given = labels if labels is not None else [None] * len(names)
    return [
        posixpath.basename(posixpath.dirname(posixpath.join(base, name)))
        if label is None
        else label
        for name, label in zip(names, given, strict=True)
    ]


def _space(facts: dict[str, str], space_name: str | None, dim: int, source: Path) -> SpaceRecord:
    from cache_store.manifest import SpaceRecord, named_space

    stated = facts.get("lqtse.space")
    if stated and space_name and stated != space_name:
        raise SpaceMismatchError(
            "the embeddings say that they came from another space",
            where=source,
            expected=space_name,
            found=stated,
        )
    name = stated or space_name
    if not name:
        raise UsageError(
            "the stored embeddings do not say which model made them",
            where=source,
            hint="Name it with --space-name, the same name for captions and audio of one model",
        )
    fingerprint = facts.get("lqtse.fingerprint")
    return SpaceRecord(name, fingerprint, dim) if fingerprint else named_space(name, dim)


def _unit(matrix: NDArray[np.float32], source: Path, name_row: NameRow) -> NDArray[np.float32]:
    """The rows at unit norm, in place and in blocks: the matrix may fill half the memory."""
    wrong: list[int] = []
    for start in range(0, len(matrix), _BLOCK):
        block = matrix[start : start + _BLOCK]
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        bad = ~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0))
        wrong.extend((start + np.flatnonzero(bad)).tolist())
        if not wrong:
            block /= np.where(np.abs(norms - 1) < _UNIT_ALREADY, np.float32(1), norms)
    if wrong:
        raise DataError(
            f"{name_row(wrong[0])} has an embedding that is zero or not finite",
            where=source,
            found=f"{len(wrong)} such rows",
        )
    return matrix
