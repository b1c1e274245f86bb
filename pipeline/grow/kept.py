"""Embeddings that are computed once and kept in the cache's folder `grow/`, by what they depend on.

They can be computed again at any time, so nothing lists them, `push` and `export` leave them out,
and a damaged file is made anew.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache_store.errors import DamagedError, storage_errors

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "grow"


def key_of(*parts: object) -> str:
    """A name (32 hex) for what follows from these values, which JSON can spell."""
    spelled = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(spelled.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def kept_table(cache: Path, kind: str, key: str, make: Callable[[], pa.Table]) -> pa.Table:
    """The table of this kind and key: read if it is there and whole, else made and written.

    Raises:
        StorageError: If it cannot be written.
    """
    from cache_store.shards import read_table

    path = cache / FOLDER / f"{kind}-{key}.parquet"
    try:
        return read_table(path)
    except DamagedError:
        table = make()
    _write(path, table)
    return table


def _write(path: Path, table: Any) -> None:
    from cache_store.files import DISK, TMP_PREFIX
    from cache_store.shards import write_table

    tmp = path.with_name(f"{TMP_PREFIX}{uuid.uuid4().hex}{path.suffix}")
    with storage_errors(path):
        DISK.make_folder(path.parent)
        try:
            DISK.write(tmp, lambda place: write_table(place, table))
            DISK.sync_file(tmp)
            DISK.rename(tmp, path)
        finally:
            tmp.unlink(missing_ok=True)
