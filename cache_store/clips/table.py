"""The table of clips: one row a recording, whatever the source was.

Row order is the source's: folders are sorted by relative path, manifests keep their own order. A
clip's name is its path relative to the source in POSIX form; several rows may share a name, as
where a manifest lists one recording with several captions.

Letters: n clips, D embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from cache_store.errors import EmptyInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from cache_store.manifest import SpaceRecord


class ClipPaths(Sequence[Path]):
    """Names below a folder, as paths that are made when they are asked for.

    A million `Path` objects take 30 s and 500 MB; their names are there anyway.

    Args:
        folder: What the names are relative to; an absolute name stays as it is.
        names: The names, with `/`.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.folder = folder
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, at: int) -> Path: ...
    @overload
    def __getitem__(self, at: slice) -> ClipPaths: ...
    def __getitem__(self, at: int | slice) -> Path | ClipPaths:
        if isinstance(at, slice):
            return ClipPaths(self.folder, self.names[at])
        return self.folder / self.names[at]

    def at(self, rows: Sequence[int]) -> ClipPaths:
        """The paths at some rows, in their order."""
        return ClipPaths(self.folder, tuple(self.names[row] for row in rows))


@dataclass(frozen=True)
class ClipTable:
    """Recordings and what is known of them.

    Attributes:
        paths: Where each recording lies.
        names: Each clip's id: its path relative to the source, with `/`.
        columns: Every other column by name, one value a row; None where a value is missing.
        embeddings: float32 [n, D], unit norm; None if the source stores none.
        space: The model that made the embeddings; None exactly if `embeddings` is.
        source: The folder or manifest, for messages.
        facts: The `lqtse.*` metadata of a Parquet manifest: what it says of itself.
    """

    paths: Sequence[Path]
    names: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    embeddings: NDArray[np.float32] | None = None
    space: SpaceRecord | None = None
    source: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def label(self) -> Sequence[str | None] | None:
        """The label of each clip, or None if the source has none."""
        return self.columns.get("label")

    @property
    def caption(self) -> Sequence[str | None] | None:
        """The caption of each clip, or None if the source has none."""
        return self.columns.get("caption")

    @property
    def fold(self) -> Sequence[Any] | None:
        """The fold of each clip, or None if the source has none."""
        return self.columns.get("fold")

    def select(self, rows: ArrayLike) -> ClipTable:
        """The clips at `rows`, in that order.

        Args:
            rows: Row numbers, or one boolean a row.
        """
        chosen = np.asarray(rows)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        rows = chosen.tolist()
        return replace(
            self,
            paths=_paths_at(self.paths, rows),
            names=tuple(self.names[row] for row in rows),
            columns={
                name: tuple(values[row] for row in rows) for name, values in self.columns.items()
            },
            embeddings=None if self.embeddings is None else self.embeddings[chosen],
        )

    def where(self, expression: str) -> ClipTable:
        """The clips for which an expression over the columns holds, in order.

        Args:
            expression: As in `fold != 4 and label in ("dog", "rain")`; empty selects all. Besides
                the columns, `name` is the clip's name. See `cache_store.clips.where`.

        Raises:
            UsageError: If the expression is not one, or names a column that is not there.
            EmptyInputError: If no clip is left.
        """
        if not expression.strip():
            return self
        from cache_store.clips.where import matching_rows

        rows = matching_rows(expression, {"name": self.names, **self.columns}, len(self))
        if not rows.any():
            raise EmptyInputError(f"no clip matches `{expression}`", where=self.source or None)
        return self.select(rows)

    def with_column(self, name: str, values: Sequence[Any]) -> ClipTable:
        """The same clips with one column added or replaced.

        Args:
            name: The column.
            values: One value a row.
        """
        if len(values) != len(self):
            raise ValueError(f"{name} must have {len(self)} values, got {len(values)}")
        return replace(self, columns={**self.columns, name: values})


def _paths_at(paths: Sequence[Path], rows: list[int]) -> Sequence[Path]:
    return paths.at(rows) if isinstance(paths, ClipPaths) else tuple(paths[row] for row in rows)
