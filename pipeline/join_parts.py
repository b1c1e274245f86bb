"""Parts of a join: what was heard of one shard of recordings, kept until the output is there.

They lie in a folder beside the output, each a Parquet file named by its content: the usable
recordings' rows, lengths and embeddings, and in the metadata the key that it is known by and the
recordings that cannot be used. One process at a time works on an output.

Letters: m usable recordings, D embedding size.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import DamagedError, LeaseHeldError, storage_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cache_store.clips import Heard

KIND = "clips-part"
_COLUMNS = ("row", "seconds")


@dataclass(frozen=True)
class Part:
    """What a part says of its shard, without the embeddings.

    Attributes:
        path: The file.
        rows: The usable recordings, by their number in the shard, int64 [m].
        seconds: Their lengths, float64 [m].
        rejects: Number and reason of each of the others.
    """

    path: Path
    rows: NDArray[np.int64]
    seconds: NDArray[np.float64]
    rejects: tuple[tuple[int, str], ...]

    def embeddings(self) -> NDArray[np.float32]:
        """The usable recordings' embeddings, float32 [m, D]; read anew each time."""
        from cache_store.shards import read_table, to_matrix

        return to_matrix(read_table(self.path, ["embedding"]).column("embedding"))


@contextmanager
def parts_folder(output: Path) -> Iterator[Path]:
    """The folder of an output's parts, for one process alone; it stays if the work fails.

    Raises:
        LeaseHeldError: Another process makes the same output.
        StorageError: It cannot be made.
    """
    from cache_store.files import sweep
    from cache_store.lease import Lease

    folder = output.with_name(f"{output.name}.parts").absolute()
    with storage_errors(folder):
        folder.mkdir(exist_ok=True)
        lease = Lease(folder)
    try:
        lease.acquire()
    except LeaseHeldError as error:
        raise LeaseHeldError(
            "another process makes the same file",
            where=output,
            found=error.found,
            hint="Wait until it ends, or name another file",
        ) from error
    try:
        sweep(folder)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lease.release()


def commit_part(folder: Path, key: str, heard: Heard) -> Path:
    """Write a part, whole and checked.

    Raises:
        StorageError: If it cannot be written.
    """
    import pyarrow as pa

    from cache_store.files import commit_file
    from cache_store.shards import from_matrix, read_table, write_table

    facts = {"lqtse.kind": KIND, "lqtse.source": key, "lqtse.rejects": json.dumps(heard.rejects)}
    columns = {"row": heard.rows, "seconds": heard.seconds}
    table = pa.table({**columns, "embedding": from_matrix(heard.embeddings)})
    table = table.replace_schema_metadata(facts)

    def check(path: Path) -> None:
        if not read_table(path).equals(table):
            raise DamagedError("what was written is not what was read back", where=path)

    with storage_errors(folder):
        return commit_file(folder, ".parquet", lambda path: write_table(path, table), check).path


def find_parts(folder: Path) -> dict[str, Path]:
    """The whole parts in a folder, by their keys; damaged ones are passed over."""
    from cache_store.files import content_name, hash_file
    from cache_store.shards import read_footer

    found = {}
    for path in sorted(folder.glob("[0-9a-f]*.parquet")):
        try:
            facts = read_footer(path).metadata
        except DamagedError:
            continue
        if (
            facts.get("lqtse.kind") == KIND
            and content_name(hash_file(path), ".parquet") == path.name
        ):
            found[facts["lqtse.source"]] = path
    return found


def read_part(path: Path) -> Part:
    """What a part says, without its embeddings.

    Raises:
        DamagedError: If it is missing or damaged.
    """
    from cache_store.schema import metadata_of
    from cache_store.shards import read_table

    table = read_table(path, _COLUMNS)
    rejects: list[list[Any]] = json.loads(metadata_of(table.schema)["lqtse.rejects"])
    return Part(
        path,
        table.column("row").to_numpy(),
        table.column("seconds").to_numpy(),
        tuple((int(row), str(reason)) for row, reason in rejects),
    )
