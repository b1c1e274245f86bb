"""The file that `join` writes: a Parquet manifest of clips with their nearest captions.

Columns: `path` (relative to the file), what the source said of the clip, `embedding` (float32 [D]),
`neighbour_ids`, `neighbour_rows` and `neighbour_scores` (K values each, best first). The metadata
name the space and the data that the neighbours are rows of.

Letters: n clips, D embedding size, K neighbours.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import DamagedError, StorageError, UsageError, storage_errors

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from cache_store.cache import Cache, Hits
    from cache_store.clips import ClipTable

    Vectors = np.ndarray[Any, np.dtype[np.float32]]
    Facts = dict[str, str]

KIND = "clips"
NEIGHBOUR_COLUMNS = ("neighbour_ids", "neighbour_rows", "neighbour_scores")


def check_output(output: Path, audio: Path, kind: str = KIND) -> None:
    """Make sure that the output can be written, and that nothing of the user's is replaced.

    Args:
        output: The file.
        audio: What it is made of.
        kind: What an earlier file of the same command says that it is.

    Raises:
        UsageError: The output is no Parquet file, has no folder, or is a file of somebody else's.
        StorageError: Its folder cannot be written to.
    """
    if output.suffix.lower() != ".parquet":
        raise UsageError("the output is a Parquet file", where=output, expected="FILE.parquet")
    if not output.parent.is_dir():
        raise UsageError("no such folder for the output", where=output.parent)
    if output.exists() and (not output.is_file() or _kind(output) != kind):
        raise UsageError(
            "the output exists and was not written by this command",
            where=output,
            hint="Name another file: it would be lost",
        )
    if output.exists() and audio.exists() and output.samefile(audio):
        raise UsageError("the output is the input", where=output, hint="Name another file")
    probe = output.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        with storage_errors(output):
            probe.touch()
            probe.unlink()
    except OSError as error:
        raise StorageError("cannot write the output", where=output, found=error.strerror) from error


def _kind(path: Path) -> str | None:
    from cache_store.shards import read_footer

    try:
        return read_footer(path).metadata.get("lqtse.kind")
    except DamagedError:
        return None


def source_columns(output: Path, table: ClipTable) -> dict[str, pa.Array]:
    """What the source said of each clip, as columns: `path` first, relative to the output."""
    import pyarrow as pa

    columns = {"path": pa.array([relative_path(path, output.parent) for path in table.paths])}
    for name, values in table.columns.items():
        if name not in (*NEIGHBOUR_COLUMNS, "path", "embedding"):
            columns[name] = plain_column(list(values))
    return columns


def block_table(columns: dict[str, pa.Array], begin: int, vectors: Vectors, hits: Hits) -> pa.Table:
    """Some clips, their embeddings and their neighbours as one table.

    Args:
        columns: What the source said of all clips.
        begin: The first of the clips.
        vectors: Their audio embeddings.
        hits: Their nearest captions.

    Shape:
        vectors [b, D], hits [b, K].
    """
    import pyarrow as pa

    from cache_store.shards import from_matrix

    k = hits.rows.shape[1]
    found = {name: column.slice(begin, len(vectors)) for name, column in columns.items()}
    found["embedding"] = from_matrix(vectors)
    flat = (pa.array(hits.ids.reshape(-1).tolist()), hits.rows, hits.scores)
    for name, values in zip(NEIGHBOUR_COLUMNS, flat, strict=True):
        cells = values if isinstance(values, pa.Array) else pa.array(values.reshape(-1))
        found[name] = pa.FixedSizeListArray.from_arrays(cells, k)
    return pa.table(found)


def relative_path(path: Path, folder: Path) -> str:
    """The path as a manifest in `folder` writes it; absolute where no relative one exists."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - keeps links
    with suppress(ValueError):  # another drive
        return Path(os.path.relpath(absolute, folder.resolve())).as_posix()
    return absolute.as_posix()


def plain_column(values: list[Any]) -> pa.Array:
    """A column of the source's; values of mixed kinds, which Parquet cannot hold, as JSON."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([value if value is None else json.dumps(value) for value in values])


def metadata_of(store: Cache, hits: Hits, k: int) -> dict[str, str]:
    """What the file says of itself: which space, which data, how it was searched."""
    return {
        "lqtse.format": "1",
        "lqtse.kind": KIND,
        "lqtse.space": store.space.name,
        "lqtse.fingerprint": store.space.fingerprint,
        # Neighbours' rows mean something in this very data only.
        "lqtse.data_hash": store.manifest.data_hash(),
        "lqtse.manifest": str(store.manifest.number),
        "lqtse.captions": str(len(store)),
        "lqtse.k": str(k),
        "lqtse.search": hits.kind,
        "lqtse.centred": "yes" if hits.centred else "no",
        # Which means were taken off: a trainer's own may be others.
        **({"lqtse.centring": hits.centring} if hits.centred else {}),
    }


def write_clips(path: Path, tables: Iterable[pa.Table], metadata: Callable[[], Facts]) -> None:
    """Write blocks of clips so that the file is there whole or not at all.

    Args:
        path: The file.
        tables: Its blocks, at least one, in order; one is held at a time.
        metadata: What the file says of itself, asked for after the first block.
    """
    from itertools import chain

    from cache_store.files import DISK, TMP_PREFIX
    from cache_store.shards import write_tables

    tables = iter(tables)
    first = next(tables)
    schema = first.schema.with_metadata(metadata())
    tmp = path.with_name(f"{TMP_PREFIX}{uuid.uuid4().hex}.parquet")
    with storage_errors(path):
        try:
            DISK.write(tmp, lambda place: write_tables(place, schema, chain([first], tables)))
            DISK.sync_file(tmp)
            DISK.rename(tmp, path)
            DISK.sync_folder(path.parent)
        finally:
            tmp.unlink(missing_ok=True)


def rejects_path(output: Path) -> Path:
    """Where the clips that could not be used are named."""
    return output.with_suffix(".rejects.csv")
