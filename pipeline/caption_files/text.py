"""Captions from text files: a caption a line, CSV, or JSON lines; always UTF-8."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from cache_store.clips.text import typed
from cache_store.errors import DataError
from pipeline.caption_files.block import Block, blocks_of, no_column

_UTF16_MARKS = {b"\xff\xfe": "UTF-16LE", b"\xfe\xff": "UTF-16BE"}


def check_utf8(path: Path) -> None:
    """Refuse a text file that is not UTF-8, naming the byte and the line.

    Raises:
        DataError: With the offset of the first bad byte, counted from 0, and its line, from 1.
    """
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1 and line[:2] in _UTF16_MARKS:
                encoding = _UTF16_MARKS[line[:2]]
                raise _not_utf8(path, "line 1, byte 0 (a UTF-16 mark)", encoding)
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                place = f"line {number}, byte {offset + error.start} (0x{line[error.start]:02x})"
                raise _not_utf8(path, place, "LATIN1") from error
            offset += len(line)


def _not_utf8(path: Path, place: str, guess: str) -> DataError:
    return DataError(
        "the captions file is not UTF-8",
        where=path,
        expected="UTF-8",
        found=place,
        hint=f"Convert it, for example: iconv -f {guess} -t UTF-8",
    )


def _open(path: Path) -> TextIO:
    # A byte order mark at the head is no part of the first caption; csv wants the line ends raw.
    return path.open(encoding="utf-8-sig", newline="")


def read_lines(path: Path, column: str) -> Iterator[Block]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        yield from blocks_of((column,), ((line.rstrip("\r\n"),) for line in file))


def read_jsonl(path: Path, column: str) -> Iterator[Block]:
    def rows() -> Iterator[Sequence[object]]:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield (_json_row(path, number, line, column),)

    # Objects may differ in their keys, so a block's columns are the union of its rows' keys.
    for block in blocks_of(("row",), rows()):
        records: list[dict[str, Any]] = block.columns["row"]
        names = dict.fromkeys(name for record in records for name in record)
        columns = {name: [record.get(name) for record in records] for name in names}
        yield Block(block.first, columns)


def _json_row(path: Path, number: int, line: str, column: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            "a line is not JSON", where=f"{path}, line {number}", found=str(error)
        ) from error
    if isinstance(row, str):
        return {column: row}
    if not isinstance(row, dict):
        raise DataError(
            "a line is no JSON object",
            where=f"{path}, line {number}",
            expected="an object or a string",
            found=type(row).__name__,
        )
    if column not in row:
        raise no_column(path, column, list(row), f"line {number}")
    return row


def delimited(delimiter: str) -> Callable[[Path, str], Iterator[Block]]:
    def read(path: Path, column: str) -> Iterator[Block]:
        with _open(path) as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            try:
                header = next(reader, None)
                if header is None:
                    return
                if column not in header:
                    raise no_column(path, column, header)
                for block in blocks_of(header, _checked_rows(path, reader, len(header))):
                    yield Block(block.first, _typed(block, column))
            except csv.Error as error:
                raise DataError(
                    "a line is not CSV", where=f"{path}, line {reader.line_num}", found=str(error)
                ) from error

    return read


def _typed(block: Block, column: str) -> dict[str, list[Any]]:
    """Numbers for the columns that hold numbers, so that `fold != 4` means what it says."""
    return {
        name: cells if name == column else typed(name, cells)
        for name, cells in block.columns.items()
    }


def _checked_rows(path: Path, reader: Any, width: int) -> Iterator[Sequence[object]]:
    for row in reader:
        if not row:
            continue  # csv's own reading of a blank line
        if len(row) != width:
            # Too many fields is mostly a caption with a comma and no quotes: reading on would cut
            # it, and no later step could tell.
            raise DataError(
                "a row does not fit the header",
                where=f"{path}, line {reader.line_num}",
                expected=f"{width} fields",
                found=f"{len(row)}",
                hint='Put captions that hold a comma in double quotes: "a dog, barking"',
            )
        yield row
