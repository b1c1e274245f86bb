"""What compacting would do: which files become one, and which stay as they are. Pure.

Files are joined only with their neighbours, in the order of rows and in that of captions alike, so
both orders stay. From the left, a group takes what fits into one file; so every group and the first
file of the next are too much for one, and a second compaction finds nothing to join.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cache_store.manifest import FileEntry, Manifest
from cache_store.units import Unit, units_of

SHARD_ROWS = 65_536  # four row groups: 64 MiB of float16 [512]
WAITING_ROWS = 16_384  # not embedded yet: what is lost at most when embedding is killed


@dataclass(frozen=True)
class Group:
    """Files that become one.

    Attributes:
        units: Neighbours.
        removed: Rows of them that go.
    """

    units: tuple[Unit, ...]
    removed: int

    @property
    def changes(self) -> bool:
        """Whether a file is written for it."""
        return len(self.units) > 1 or self.removed > 0


def plan_groups(
    manifest: Manifest,
    removed: Mapping[str, int],
    pending: Collection[str],
    shard_rows: int = SHARD_ROWS,
) -> tuple[Group, ...]:
    """Return all captions and data of a manifest, grouped.

    Args:
        manifest: The cache.
        removed: Rows that go, by the path of the file that has the unit's texts.
        pending: Hashes of captions files whose embeddings a run that died has committed: they keep
            their name, so that its rerun finds them.
        shard_rows: How many rows a file may have.
    """
    place = {entry.path: number for number, entry in enumerate(manifest.captions)}
    groups: list[list[Unit]] = []
    for unit in units_of(manifest):
        before = groups[-1] if groups else []
        most = shard_rows if unit.data is not None else min(shard_rows, WAITING_ROWS)
        rows = sum(one.rows - removed.get(one.texts.path, 0) for one in (*before, unit))
        if before and rows <= most and _neighbours(before[-1], unit, place, pending):
            before.append(unit)
        else:
            groups.append([unit])
    return tuple(
        Group(tuple(group), sum(removed.get(unit.texts.path, 0) for unit in group))
        for group in groups
    )


def plan_rejects(
    rejects: Sequence[FileEntry], shard_rows: int = SHARD_ROWS
) -> tuple[tuple[FileEntry, ...], ...]:
    """Return the files of refused captions, grouped in their order."""
    groups: list[list[FileEntry]] = []
    for entry in rejects:
        before = groups[-1] if groups else []
        if before and sum(one.rows for one in before) + entry.rows <= shard_rows:
            before.append(entry)
        else:
            groups.append([entry])
    return tuple(map(tuple, groups))


def _neighbours(
    left: Unit, right: Unit, place: Mapping[str, int], pending: Collection[str]
) -> bool:
    """Whether two units that follow one another in row order may share files."""
    if (left.captions is None) != (right.captions is None):
        return False
    if (left.data is None) != (right.data is None):
        return False
    if left.captions is None or right.captions is None:
        # Embeddings whose captions file is gone name it still; they stay alone.
        return not any(unit.data and unit.data.source for unit in (left, right))
    if left.captions.sha256 in pending or right.captions.sha256 in pending:
        return False
    return place[left.captions.path] + 1 == place[right.captions.path]
