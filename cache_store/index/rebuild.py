"""Build anew an index that a cache had, when its data were rewritten.

The clips that an approximate index was shaped and tuned with, and those of the audio mean, are not
at hand then. So what was learned from them is taken over, and said: recall measured before is not
passed off as recall of the new index.
"""

from __future__ import annotations

from cache_store.errors import DamagedError
from cache_store.index.build import build_index
from cache_store.index.kinds import BREADTH
from cache_store.index.means import store_means
from cache_store.index.reduction import read_reduction
from cache_store.index.tuning import Kept
from cache_store.manifest import CENTRING, IndexEntry, check_content
from cache_store.writer import CacheWriter


def rebuild_index(
    writer: CacheWriter, kind: str, old: IndexEntry | None, *, keep_older: bool = False
) -> str:
    """Build an index of this kind for the data as they are now, and publish it.

    Args:
        writer: The cache, open for writing, with embeddings.
        kind: Of index, or "centring".
        old: The entry that it had, None if that is not known.
        keep_older: As of `build_index`.

    Returns:
        What the user should know; "" if the new one is in nothing less than the old one.

    Raises:
        MissingDependencyError: If the kind needs FAISS and it is not installed.
        StorageError: If it cannot be written.
    """
    again = f"lqtse-cache index {writer.path}"
    if kind == CENTRING:
        try:
            means = store_means(writer, kept=old)
        except DamagedError:
            means = store_means(writer)
        if means.audio is not None or (old is not None and not old.params.get("recordings")):
            return ""
        return f"the audio mean is gone; store it: {again} --centre --queries CLIPS.parquet"
    name = BREADTH.get(kind, "")
    tuned = old is not None and old.params.get("recall_queries") == "given" and name in old.params
    if old is None or not tuned:
        build_index(writer, kind, keep_older=keep_older)
        return ""
    retune = f"to tune it anew: {again} --kind {kind} --queries CLIPS.parquet"
    try:
        kept = _kept(writer, old)
    except DamagedError:
        build_index(writer, kind, keep_older=keep_older)
        return f"the {kind} index was tuned with audio, and is now with captions; {retune}"
    build_index(writer, kind, keep_older=keep_older, kept=kept)
    return (
        f"the {kind} index keeps {name} {old.params[name]}, which was tuned with audio before; "
        f"{retune}"
    )


def _kept(writer: CacheWriter, old: IndexEntry) -> Kept:
    """What the old index was tuned to, its shaped space read and checked."""
    space = writer.current.space
    if len(old.files) < 2 or space is None:
        return Kept(old.params)
    return Kept(old.params, read_reduction(check_content(writer.path, old.files[1]), space.dim))
