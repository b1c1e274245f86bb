"""The rows of an export: captions that were not removed, read in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from cache_store.shards import iter_batches
from pipeline.progress import Tick

if TYPE_CHECKING:
    from cache_store.cache import Cache
    from cache_store.manifest import FileEntry

_BATCH_ROWS = 4096  # 8 MiB of float32 [512], and a few copies of it


class LiveRows:
    """Batches of rows in order, removed captions left out, page checksums verified.

    Args:
        store: The cache.
        files: Its files to read.
        columns: The columns to read, `id` among them.
        tick: Told of every row that was read.

    Attributes:
        count: How many rows were given out so far.
    """

    def __init__(
        self, store: Cache, files: Sequence[FileEntry], columns: Sequence[str], tick: Tick
    ) -> None:
        self.count = 0
        self._store = store
        self._files = files
        self._columns = columns
        self._tick = tick

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        removed = pa.array(self._store.manifest.tombstones, pa.string())
        for entry in self._files:
            path = self._store.path / entry.path
            for batch in iter_batches(path, self._columns, rows=_BATCH_ROWS):
                self._tick(batch.num_rows)
                if len(removed):
                    gone = pc.is_in(batch.column("id"), value_set=removed)
                    batch = batch.filter(pc.invert(gone))
                if batch.num_rows:
                    self.count += batch.num_rows
                    yield batch
