"""What a cache holds, in numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cache_store.manifest import FileEntry, Manifest
from cache_store.shards import iter_batches

if TYPE_CHECKING:
    from cache_store.cache import Cache

_WORD = re.compile(r"[a-z0-9']+")


def collect(cache: Cache) -> dict[str, Any]:
    """Return counts, space, sizes, words and indexes of a cache.

    Words are runs of `[a-z0-9']` in lower case. Reads the captions once; memory is the vocabulary.
    """
    manifest = cache.manifest
    files = manifest.texts
    space = manifest.space
    return {
        "manifest": manifest.number,
        "captions": _rows(files),
        "embedded": manifest.rows,
        "removed": len(manifest.tombstones),
        "refused": _rows(manifest.rejects),
        "refused by reason": dict(_count(cache, manifest.rejects, "reason").most_common()),
        "space": space.name if space else None,
        "fingerprint": space.fingerprint if space else None,
        "dim": space.dim if space else None,
        "dtype": manifest.dtype,
        **_words(cache, files),
        "models": dict(_count(cache, files, "model").most_common()),
        "indexes": _indexes(manifest),
        "files": len(manifest.files()),
        "bytes": sum(entry.bytes for entry in manifest.files()),
    }


def _words(cache: Cache, files: Sequence[FileEntry]) -> dict[str, Any]:
    vocabulary: set[str] = set()
    words = captions = 0
    for entry in files:
        for batch in iter_batches(cache.path / entry.path, ["caption"]):
            for caption in batch.column(0).to_pylist():
                found = _WORD.findall(caption.lower())
                vocabulary.update(found)
                words += len(found)
            captions += batch.num_rows
    return {"words a caption": words / captions if captions else 0.0, "vocabulary": len(vocabulary)}


def _count(cache: Cache, files: Sequence[FileEntry], column: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in files:
        for batch in iter_batches(cache.path / entry.path, [column]):
            counts.update(batch.column(0).to_pylist())
    return counts


def _indexes(manifest: Manifest) -> dict[str, str]:
    return {
        entry.kind: "fresh" if manifest.is_fresh(entry) else "older than the data"
        for entry in manifest.indexes
    }


def _rows(files: Sequence[FileEntry]) -> int:
    return sum(entry.rows for entry in files)
