"""Manifests that are text: CSV and TSV, JSON lines, and AudioSep's JSON.

Every reader returns its columns and a function that names a row as a user would find it ("line 7").
Text must be UTF-8. In CSV every cell is text; `typed` turns a column of whole numbers or decimals
into numbers, so that `--where "fold != 4"` means what it says.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cache_store.errors import DataError, EmptyInputError, storage_errors

Columns = dict[str, list[Any]]
NameRow = Callable[[int], str]

_ALWAYS_TEXT = frozenset({"path", "file_name", "label", "caption", "name", "id"})


def read_csv(path: Path, delimiter: str) -> tuple[Columns, NameRow]:
    """Read a CSV file with a header line.

    Raises:
        DataError: For a file that is not UTF-8, a header that repeats a name, or a row with more
            or fewer cells than the header; says which line.
        EmptyInputError: If there is no row below the header.
    """
    reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise DataError(f"the header names {', '.join(sorted(twice))} twice", where=path)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"line {reader.line_num} has another number of cells than the header",
                    where=path,
                    expected=len(header),
                    found=len(cells),
                )
            rows.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"line {reader.line_num} is not CSV ({error})", where=path) from error
    if not rows:
        raise EmptyInputError("no rows below the header", where=path)
    columns = {name: typed(name, [row[at] for row in rows]) for at, name in enumerate(header)}
    return columns, lambda row: f"line {lines[row]}"


def typed(name: str, cells: list[str]) -> list[Any]:
    """The values of a CSV column: int or float if every filled cell is one, else text.

    An empty cell is a missing value (None). Paths, labels and captions stay text.
    """
    filled = [cell for cell in cells if cell.strip()]
    if name not in _ALWAYS_TEXT:
        for kind in (int, float):
            try:
                for cell in filled:
                    kind(cell)
            except ValueError:
                continue
            return [kind(cell) if cell.strip() else None for cell in cells]
    return [cell if cell.strip() else None for cell in cells]


def read_jsonl(path: Path) -> tuple[Columns, NameRow]:
    """Read one JSON object a line; a key that a line lacks is a missing value.

    Raises:
        DataError: For a file that is not UTF-8 or a line that is not a JSON object; says which.
        EmptyInputError: If there is no object.
    """
    records: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"line {number} is not JSON ({error})", where=path) from error
        if not isinstance(record, dict):
            raise DataError(
                f"line {number} is not a JSON object", where=path, found=type(record).__name__
            )
        records.append(record)
        lines.append(number)
    if not records:
        raise EmptyInputError("no rows", where=path)
    return _transposed(records), lambda row: f"line {lines[row]}"


def read_audiosep(path: Path) -> tuple[Columns, NameRow]:
    """Read AudioSep's training list: `{"data": [{"wav": PATH, "caption": TEXT}, ...]}`.

    Raises:
        DataError: If the file is not such a list; says which entry is wrong.
        EmptyInputError: If the list is empty.
    """
    try:
        whole = json.loads("".join(_lines(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON ({error})", where=path) from error
    entries = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(entries, list):
        raise DataError(
            "is not a list of clips",
            where=path,
            expected='{"data": [{"wav": PATH, "caption": TEXT}, ...]}',
            hint="For one JSON object a line, name the file .jsonl",
        )
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("wav"), str):
            raise DataError(f"entry {number} has no `wav`", where=path)
    if not entries:
        raise EmptyInputError("the list `data` is empty", where=path)
    columns = _transposed(entries)
    columns["path"] = columns.pop("wav")
    return columns, lambda row: f"entry {row + 1}"


def _transposed(records: list[dict[str, Any]]) -> Columns:
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, with or without a byte order mark."""
    number = 0
    try:
        with storage_errors(path), path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):  # noqa: B007 - told in the error
                yield line
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8 (near line {number + 1})",
            where=path,
            hint="Convert it, for example with `iconv -f latin1 -t utf-8`",
        ) from error
