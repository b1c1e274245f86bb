"""Embeddings that were made elsewhere: which space they are from, and their rows at unit norm.

Letters: N rows, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import DataError, MismatchError, SpaceMismatchError, UsageError
from pipeline.caption_files import Block, declared_space

if TYPE_CHECKING:
    from cache_store.manifest import Manifest, SpaceRecord


@dataclass(frozen=True)
class Target:
    """The space and dtype that embeddings are stored in."""

    space: SpaceRecord
    dtype: str


def choose_space(source: Path, first: Block, space_name: str | None) -> SpaceRecord | None:
    """The space of a file's embeddings, or None where only its captions are taken.

    Args:
        source: The file; its schema's metadata says which model made the embeddings, or nothing.
        first: Its first rows.
        space_name: What the user says that made them.

    Raises:
        UsageError: Nobody says which model it was.
        SpaceMismatchError: The file and the user disagree.
    """
    from cache_store.manifest import SpaceRecord, named_space

    if first.embeddings is None:
        if space_name is not None:
            raise UsageError("--space-name is about embeddings", hint="Add --embeddings")
        return None
    declared, fingerprint = declared_space(source)
    if declared and space_name and declared != space_name:
        raise SpaceMismatchError(
            "the file names another space than --space-name",
            where=source,
            expected=space_name,
            found=declared,
        )
    name = declared or space_name
    if name is None:
        raise UsageError(
            "the file does not say which model made its embeddings",
            where=source,
            hint='Name it: --space-name "laion-clap 630k-audioset-best", say',
        )
    dim = first.embeddings.shape[1]
    return SpaceRecord(name, fingerprint, dim) if fingerprint else named_space(name, dim)


def choose_target(
    manifest: Manifest, source: Path, record: SpaceRecord, dtype: str | None
) -> Target:
    """How a cache will hold embeddings of a space.

    Raises:
        SpaceMismatchError: The cache holds those of another one.
        MismatchError: The cache holds another dtype than the one asked for.
    """
    held = manifest.space
    if held is not None and held.fingerprint != record.fingerprint:
        raise SpaceMismatchError(
            "the embeddings are from another space than the cache's",
            where=source,
            expected=f"{held.name} [{held.fingerprint}]",
            found=f"{record.name} [{record.fingerprint}]",
            hint="Use another cache for them",
        )
    if dtype is not None and manifest.dtype is not None and dtype != manifest.dtype:
        raise MismatchError(
            "the cache holds embeddings of another type", expected=manifest.dtype, found=dtype
        )
    return Target(record, manifest.dtype or dtype or "float32")


def unit_rows(block: Block, source: Path) -> Block:
    """The same block, its embeddings scaled to unit norm.

    Raises:
        DataError: An embedding has no direction (all zero, or not finite), naming its row.
    """
    import numpy as np

    if block.embeddings is None:
        return block
    vectors = block.embeddings.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            "an embedding has no direction",
            where=f"{source}, row {block.first + row}",
            expected="finite values, not all zero",
            found="all zero" if norms[row] == 0 else "NaN or infinite values",
        )
    return replace(block, embeddings=(vectors / norms[:, None]).astype(np.float32))
