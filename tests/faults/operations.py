"""The commands that are disturbed: what lies there before, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SUBJECTS = ("dog", "kettle", "tram", "saw", "choir", "owl", "printer")
PLACES = ("in a yard", "behind a wall", "far away", "under a bridge")


@dataclass(frozen=True)
class Operation:
    """One command.

    Attributes:
        prepare: Makes the cache as it is before.
        act: The command; run again, it must end as if it had never been disturbed.
        between: For a command that publishes twice, what leads to the state between.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    between: Callable[[Path], None] | None = None


def _lines(cache: Path, name: str, first: int, count: int) -> Path:
    """A file of captions beside the cache, the last of them refused."""
    path = cache.parent.parent / f"{name}.txt"
    rows = [
        f"a {SUBJECTS[row % 7]} {PLACES[row // 7 % 4]} number {row}"
        for row in range(first, first + count)
    ]
    path.write_text("\n".join([*rows, "x" * 1100]) + "\n", encoding="utf-8")
    return path


def _import(cache: Path, name: str = "first", first: int = 0, count: int = 10) -> None:
    from pipeline.importing import import_captions

    import_captions(cache, _lines(cache, name, first, count), shard_rows=6)


def _embed(cache: Path) -> None:
    from pipeline.embed import embed_cache

    embed_cache(cache, space="tiny", workers=1, device="cpu")


def _index(cache: Path) -> None:
    from pipeline.indexing import index_cache

    index_cache(cache, kind="hnsw", device="cpu")


def _dedupe(cache: Path) -> None:
    from pipeline.dedupe import dedupe

    dedupe(cache, threshold=0.8, device="cpu")


def _compact(cache: Path, index: bool = True) -> None:
    from cache_store.compact import compact_cache

    compact_cache(cache, index=index)


def _merge(cache: Path) -> None:
    from cache_store.merge import merge_caches

    merge_caches(cache, [cache.parent / "one", cache.parent / "two"])


def _two_caches(cache: Path) -> None:
    for name, first in (("one", 0), ("two", 6)):
        _import(cache.parent / name, name, first)
        _embed(cache.parent / name)


def _full(cache: Path) -> None:
    _embedded(cache)
    _dedupe(cache)
    _index(cache)


def _nothing(cache: Path) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)


def _embedded(cache: Path) -> None:
    _import(cache)
    _embed(cache)


OPERATIONS = {
    "first import": Operation(_nothing, _import),
    "import": Operation(_import, lambda cache: _import(cache, "second", 10, 8)),
    "embed": Operation(_import, _embed),
    "index": Operation(_embedded, _index),
    "dedupe": Operation(_embedded, _dedupe),
    "compact": Operation(_full, _compact, between=lambda cache: _compact(cache, index=False)),
    "merge": Operation(_two_caches, _merge),
}
