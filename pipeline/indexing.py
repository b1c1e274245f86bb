"""Build a cache's index, with recall measured by audio queries where the user has some.

The building itself is `cache_store.index.build`; this adds the lease, and the queries: embeddings
of audio lie elsewhere than those of captions and find other cells, so an approximate index that
does well for captions need not do well for audio.

Letters: B queries, D embedding size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import UsageError

if TYPE_CHECKING:
    from cache_store.index.build import BuildReport

MOST_QUERIES = 1024  # more would measure recall no better, and take longer


def index_cache(
    cache: str | Path,
    *,
    kind: str = "auto",
    queries: str | Path | None = None,
    space_name: str | None = None,
    device: str = "auto",
) -> BuildReport:
    """Build and publish an index of an embedded cache.

    Args:
        cache: The cache's folder.
        kind: `auto`, `exact`, `flat` or `hnsw`.
        queries: A manifest of clips with stored embeddings (`join` writes one), to measure recall
            with; by default captions of the cache.
        space_name: Where the queries' embeddings came from, if their manifest does not say.
        device: `auto` or `cpu`: these kinds are built on the CPU.

    Raises:
        UsageError: For an unknown kind, another device, or queries without embeddings.
        DataError: If nothing is embedded yet.
        SpaceMismatchError: If the queries are of another space.
        LeaseHeldError: Another process writes to the cache.
    """
    from cache_store.cache import open_cache
    from cache_store.clips import read_clips
    from cache_store.index.build import build_index
    from cache_store.writer import open_writer

    if device not in ("auto", "cpu"):
        raise UsageError(
            "these kinds of index are built on the CPU", expected="auto or cpu", found=device
        )
    vectors = None
    if queries is not None:
        table = read_clips(queries, space_name=space_name)
        if table.embeddings is None or table.space is None:
            raise UsageError(
                "the queries have no column `embedding`",
                where=queries,
                hint=f"Make them: lqtse-cache join {cache} AUDIO -o clips.parquet",
            )
        with open_cache(cache) as store:
            store.require_space(table.space, f"the queries of {queries}")
        step = -(-len(table) // MOST_QUERIES)
        vectors = table.embeddings[::step]
    with open_writer(cache, create=False) as writer:
        return build_index(writer, kind, queries=vectors)
