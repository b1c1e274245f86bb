"""The commands that are disturbed: what lies there before, and what is done to it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults import asking, ordering

SUBJECTS = ("dog", "kettle", "tram", "saw", "choir", "owl", "printer")
PLACES = ("in a yard", "behind a wall", "far away", "under a bridge")


@dataclass(frozen=True)
class Operation:
    """One command.

    Attributes:
        prepare: Makes the cache as it is before.
        act: The command; run again, it must end as if it had never been disturbed.
        between: For a command that publishes twice, what leads to the state between.
        again: What runs it again, where that is to check more than the outcome.
        mends: The cache is damaged before, and a reader is told so; on the way to "after" all rows
            are there, and not yet all indexes.
        parts: What was done is published although the rest failed: the beginning of "after", in
            files of other sizes.
        look: A further check of what an accident left, with the marks that the command had made by
            then (`tell`).
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    between: Callable[[Path], None] | None = None
    again: Callable[[Path], None] | None = None
    mends: bool = False
    parts: bool = False
    look: Callable[[Path, Sequence[str]], None] | None = None


def tell(mark: str) -> None:
    """Note in the trace, where there is one, that something happened outside of the disk."""
    with suppress(AttributeError):  # not under the shim
        ctypes.CDLL(None).faults_mark(mark.encode())


def _lines(cache: Path, name: str, first: int, count: int) -> Path:
    """A file of captions beside the cache, the last of them refused."""
    path = cache.parent.parent / f"{name}.txt"
    rows = [
        f"a {SUBJECTS[row % 7]} {PLACES[row // 7 % 4]} number {row}"
        for row in range(first, first + count)
    ]
    text = "\n".join([*rows, "x" * 1100]) + "\n"
    return _put(path, lambda new: new.write_text(text, encoding="utf-8"))


def _put(path: Path, write: Callable[[Path], object]) -> Path:
    """Make an input of a command; whole at any moment, since the judge reads while others write."""
    if not path.exists():
        new = path.with_name(f"{path.name}.{os.getpid()}")
        write(new)
        new.replace(path)
    return path


def _import(cache: Path, name: str = "first", first: int = 0, count: int = 10) -> None:
    from pipeline.importing import import_captions

    import_captions(cache, _lines(cache, name, first, count), shard_rows=6)


def _embed(cache: Path) -> None:
    from pipeline.embed import embed_cache

    embed_cache(cache, space="tiny", workers=1, device="cpu")


def _index(cache: Path, kind: str = "hnsw", centre: bool = False) -> None:
    from pipeline.indexing import index_cache

    queries = _clips(cache) if kind != "hnsw" else None
    index_cache(cache, kind=kind, queries=queries, centre=centre, device="cpu")


def _clips(cache: Path) -> Path:
    """Clips with stored embeddings, in the space of `tiny`, beside the cache."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from cache_store.manifest import newest_manifest

    manifest = newest_manifest(cache)
    assert manifest is not None
    space = manifest.space
    assert space is not None
    path = cache.parent.parent / "clips.parquet"
    vectors = np.random.default_rng(0).normal(size=(12, space.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = pa.table(
        {
            "path": [f"{number}.wav" for number in range(len(vectors))],
            "embedding": pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), space.dim),
        }
    )
    facts = {"lqtse.space": space.name, "lqtse.fingerprint": space.fingerprint}
    return _put(path, lambda new: pq.write_table(table.replace_schema_metadata(facts), new))


def _repair(cache: Path) -> None:
    from cache_store.repair import repair_cache

    repair_cache(cache)


def _generate(cache: Path) -> None:
    asking.generate(cache, tell)


def _order(cache: Path) -> None:
    ordering.order(cache, tell)


def _broken(cache: Path) -> None:
    """One file of each kind cut, and a bit of the newest manifest flipped."""
    from cache_store.manifest import manifest_path, newest_manifest

    _embedded(cache)
    _index(cache, "exact")
    manifest = newest_manifest(cache)
    assert manifest is not None
    exact = manifest.index("exact")
    assert exact is not None
    cut = (manifest.captions[0], manifest.data[1], manifest.rejects[0], *exact.files)
    for entry in cut:
        path = cache / entry.path
        path.write_bytes(path.read_bytes()[: entry.bytes // 2])
    path = manifest_path(cache, manifest.number)
    data = path.read_bytes()
    place = data.index(b'"tool_version": "') + 17
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


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
    "index ivf": Operation(_embedded, lambda cache: _index(cache, "ivf")),
    "index ivfpq": Operation(_embedded, lambda cache: _index(cache, "ivfpq")),
    "index --centre": Operation(
        _embedded,
        lambda cache: _index(cache, "exact", centre=True),
        between=lambda cache: _index(cache, "exact"),
    ),
    "repair": Operation(_broken, _repair, mends=True),
    "generate": Operation(
        _nothing,
        _generate,
        again=asking.generate_again,
        parts=True,
        look=asking.look,
    ),
    "generate in batches": Operation(
        _nothing,
        _order,
        again=ordering.order_again,
        parts=True,
        look=ordering.look,
    ),
}
