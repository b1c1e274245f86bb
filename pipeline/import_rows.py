"""Which rows of a captions file come into a cache: pure, block by block."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from cache_store.text import normalise_caption
from pipeline.caption_files import Block
from pipeline.import_embeddings import unit_rows

Kept = tuple[Block, Sequence[bool] | None]  # None: all of them


def checked(blocks: Iterator[Block], where: str | None, source: Path) -> Iterator[Kept]:
    """Each block, its embeddings at unit norm, and which of its rows `where` lets through."""
    from cache_store.clips.where import matching_rows

    for block in blocks:
        keep = None
        if where is not None:
            keep = matching_rows(where, block.columns, len(block)).tolist()
        yield unit_rows(block, source), keep


def chosen(blocks: Iterator[Kept], column: str, only: Collection[str]) -> Iterator[Kept]:
    """The same blocks, with none but some captions let through."""
    wanted = frozenset(only)
    for block, keep in blocks:
        found = [normalise_caption(str(value or "")) in wanted for value in block.columns[column]]
        yield block, found if keep is None else [*map(all, zip(found, keep, strict=True))]
