"""What a cache holds, in numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cache_store.manifest import CENTRING, FileEntry, Manifest
from cache_store.shards import iter_batches

if TYPE_CHECKING:
    from cache_store.cache import Cache

_WORD = re.compile(r"[a-z0-9']+")


def collect(cache: Cache) -> dict[str, Any]:
    """Return counts, space, sizes, words and indexes of a cache.

    Words are runs of `[a-z0-9']` in lower case. Removed captions are in `removed` and in `embedded`
    (their rows still lie in the files), and in nothing else. Reads the captions once; memory is the
    vocabulary.
    """
    manifest = cache.manifest
    files = manifest.texts
    space = manifest.space
    words = _words(cache, files)
    return {
        "manifest": manifest.number,
        "captions": words.pop("captions"),
        "embedded": manifest.rows,
        "removed": len(manifest.tombstones),
        "refused": _rows(manifest.rejects),
        "refused by reason": dict(_count(cache, manifest.rejects, "reason").most_common()),
        "space": space.name if space else None,
        "fingerprint": space.fingerprint if space else None,
        "dim": space.dim if space else None,
        "dtype": manifest.dtype,
        **words,
        "models": dict(_count(cache, files, "model", live_only=True).most_common()),
        "indexes": _indexes(manifest),
        "means for centring": _means(manifest),
        "files": len(manifest.files()),
        "bytes": sum(entry.bytes for entry in manifest.files()),
    }


def _words(cache: Cache, files: Sequence[FileEntry]) -> dict[str, Any]:
    vocabulary: set[str] = set()
    words = captions = 0
    for entry in files:
        for caption in live_values(cache, entry, "caption"):
            found = _WORD.findall(caption.lower())
            vocabulary.update(found)
            words += len(found)
            captions += 1
    return {
        "captions": captions,
        "words a caption": words / captions if captions else 0.0,
        "vocabulary": len(vocabulary),
    }


def live_values(cache: Cache, entry: FileEntry, column: str) -> Iterator[Any]:
    """Yield the values of a column of one file of captions or data, removed captions left out."""
    removed = frozenset(cache.manifest.tombstones)
    for batch in iter_batches(cache.path / entry.path, ["id", column] if removed else [column]):
        values = batch.column(column).to_pylist()
        if removed:
            ids = batch.column("id").to_pylist()
            values = [value for one, value in zip(ids, values, strict=True) if one not in removed]
        yield from values


def _count(
    cache: Cache, files: Sequence[FileEntry], column: str, *, live_only: bool = False
) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in files:
        if live_only:
            counts.update(live_values(cache, entry, column))
            continue
        for batch in iter_batches(cache.path / entry.path, [column]):
            counts.update(batch.column(0).to_pylist())
    return counts


def _indexes(manifest: Manifest) -> dict[str, str]:
    return {
        entry.kind: "fresh" if manifest.is_fresh(entry) else "older than the data"
        for entry in manifest.indexes
        if entry.kind != CENTRING
    }


def _means(manifest: Manifest) -> str | None:
    """What the stored means are of; None if there are none."""
    entry = manifest.index(CENTRING)
    if entry is None:
        return None
    heard = entry.params.get("recordings")
    of = f"{entry.params.get('captions')} captions" + (f", {heard} recordings" if heard else "")
    return of if manifest.is_fresh(entry) else f"{of}; older than the captions"


def _rows(files: Sequence[FileEntry]) -> int:
    return sum(entry.rows for entry in files)
