"""The caches that are merged: each read once, and all of one space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cache_store.errors import DataError, SpaceMismatchError, UsageError
from cache_store.manifest import Manifest, SpaceRecord, newest_manifest
from cache_store.opening import check_footers


def read_inputs(target: Path, folders: Sequence[Path]) -> list[Manifest]:
    """Return the newest manifest of each cache.

    Args:
        target: The new cache, which must be none of them.
        folders: The caches.

    Raises:
        UsageError: If there are too few, or one is the new cache or comes twice.
        DataError: If a folder is no cache, or is damaged.
    """
    if len(folders) < 2:
        raise UsageError("too few caches to merge", expected="2 or more", found=len(folders))
    places = [folder.resolve() for folder in folders]
    for place, folder in zip(places, folders, strict=True):
        if place == target.resolve():
            raise UsageError("the new cache is one of the inputs", where=target)
        if places.count(place) > 1:
            raise UsageError("a cache comes twice", where=folder)
    manifests = []
    for folder in folders:
        manifest = newest_manifest(folder)
        if manifest is None:
            raise DataError("no cache", where=folder, hint="Name folders of caches")
        check_footers(folder, manifest)
        manifests.append(manifest)
    return manifests


def common_space(folders: Sequence[Path], manifests: Sequence[Manifest]) -> SpaceRecord | None:
    """Return the one space of all inputs that are embedded, None if none is.

    Raises:
        SpaceMismatchError: If two have different spaces, or types of embeddings.
    """
    first: tuple[Path, Manifest] | None = None
    for folder, manifest in zip(folders, manifests, strict=True):
        if manifest.space is None:
            continue
        if first is None:
            first = folder, manifest
        if _kind(manifest) != _kind(first[1]):
            raise SpaceMismatchError(
                "the caches hold embeddings of different spaces",
                where=folder,
                expected=f"{_named(first[1])} as in {first[0]}",
                found=_named(manifest),
                hint="Merge caches of one space: embed the captions of one with the model of the "
                "other, into a new cache",
            )
    return first[1].space if first else None


def _kind(manifest: Manifest) -> tuple[object, ...]:
    space = manifest.space
    return (space.fingerprint, space.dim, manifest.dtype) if space else ()


def _named(manifest: Manifest) -> str:
    space = manifest.space
    if space is None:
        return "nothing"
    return f"{space.name} ({space.fingerprint[:16]}), {manifest.dtype}[{space.dim}]"
