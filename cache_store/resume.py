"""What the files themselves tell: which a run committed before it died, and of which space."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from cache_store import schema
from cache_store.errors import DataError
from cache_store.files import TMP_PREFIX, content_name, hash_file
from cache_store.manifest import FileEntry, SpaceRecord
from cache_store.shards import read_footer


def find_unlisted(
    folder: Path, listed: Collection[str], space: SpaceRecord, dtype: str
) -> dict[str, FileEntry]:
    """Return whole data files of this space and dtype that no manifest names, by their source.

    Args:
        folder: The cache.
        listed: Paths that the manifest names.
        space: The embedding space.
        dtype: "float16" or "float32".
    """
    found: dict[str, FileEntry] = {}
    for path in sorted((folder / schema.DATA).glob("*.parquet")):
        name = f"{schema.DATA}/{path.name}"
        if name in listed or path.name.startswith(TMP_PREFIX):
            continue
        try:
            footer = read_footer(path)
            shape = schema.embedding_type(footer.schema)
        except DataError:  # damaged: to be written again
            continue
        source = footer.metadata.get("lqtse.source", "")
        ours = footer.metadata.get("lqtse.fingerprint") == space.fingerprint
        if not source or not ours or shape != (space.dim, dtype):
            continue
        digest = hash_file(path)
        if content_name(digest, path.suffix) == path.name:
            found[source] = FileEntry(name, digest, path.stat().st_size, footer.rows, source)
    return found


def space_of(folder: Path, entry: FileEntry) -> tuple[SpaceRecord, str]:
    """Return the space and the dtype of a data file, as its footer has them.

    Raises:
        DataError: If it holds no embeddings, or cannot be read.
    """
    footer = read_footer(folder / entry.path)
    dim, dtype = schema.embedding_type(footer.schema)
    name = footer.metadata.get("lqtse.space", "")
    return SpaceRecord(name, footer.metadata.get("lqtse.fingerprint", ""), dim), dtype
