"""Read captions that somebody brings along: text lines, CSV, JSON lines, or Parquet.

A file is read as a stream of row blocks, so memory does not grow with its length. A file that is
not UTF-8 is refused before its first row is used, naming the byte and the line. Nothing is
repaired in silence: a row that cannot be read is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cache_store.errors import UsageError
from pipeline.caption_files.block import Block
from pipeline.caption_files.parquet import declared_space, read_parquet
from pipeline.caption_files.text import check_utf8, delimited, read_jsonl, read_lines

__all__ = ["Block", "declared_space", "read_blocks"]


def read_blocks(
    path: Path, *, column: str = "caption", embeddings: bool = False
) -> Iterator[Block]:
    """Read a captions file block by block.

    Args:
        path: A `.txt` (a caption a line), `.csv`, `.tsv`, `.jsonl` (objects, or plain strings) or
            `.parquet` file.
        column: Where the captions are; of no meaning for `.txt`, whose one column gets this name.
        embeddings: Also read the column `embedding`, which only Parquet can hold.

    Raises:
        UsageError: For a path that is no file, an unknown ending, or a missing column.
        DataError: For a file that is not UTF-8, or a row that cannot be read.
        DamagedError: For a Parquet file that is cut or altered.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise UsageError("no captions file", where=path, expected="a file", found=found)
    ending = path.suffix.lower()
    if ending == ".parquet":
        yield from read_parquet(path, column, embeddings)
        return
    reader = _TEXT_READERS.get(ending)
    if reader is None:
        raise UsageError(
            "unknown kind of captions file",
            where=path,
            expected=", ".join((*_TEXT_READERS, ".parquet")),
            found=path.suffix or "no ending",
        )
    if embeddings:
        raise UsageError(
            "only Parquet files hold embeddings", where=path, expected=".parquet", found=path.suffix
        )
    check_utf8(path)
    yield from reader(path, column)


_TEXT_READERS: dict[str, Callable[[Path, str], Iterator[Block]]] = {
    ".txt": read_lines,
    ".csv": delimited(","),
    ".tsv": delimited("\t"),
    ".jsonl": read_jsonl,
}
