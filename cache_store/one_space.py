"""One cache, one space: embeddings of another model, width or type are refused, both named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cache_store.errors import SpaceMismatchError
from cache_store.manifest import SpaceRecord


@dataclass(frozen=True)
class Held:
    """What a cache holds: its space and the type of its values, None while nothing is embedded.

    Attributes:
        space: The embedding space.
        dtype: "float16" or "float32".
    """

    space: SpaceRecord | None
    dtype: str | None

    def with_more(self, where: Path, space: SpaceRecord, dim: int, dtype: str) -> Held:
        """Return what it holds with embeddings of `space` added.

        Args:
            where: The cache, for the message.
            space: Which model made them.
            dim: Their width.
            dtype: Their type.

        Raises:
            SpaceMismatchError: If they may not meet what is held.
        """
        if space.dim != dim:
            raise SpaceMismatchError(
                "embeddings of the wrong width",
                where=where,
                expected=f"{space.dim}, the width of {space.name}",
                found=dim,
            )
        if self.space is not None and self.space.fingerprint != space.fingerprint:
            raise SpaceMismatchError(
                "the cache holds embeddings of another space",
                where=where,
                expected=f"{self.space.name} ({self.space.fingerprint[:16]})",
                found=f"{space.name} ({space.fingerprint[:16]})",
                hint="Use the same model, or start another cache for this one",
            )
        if self.dtype is not None and self.dtype != dtype:
            raise SpaceMismatchError(
                "the cache holds embeddings of another type",
                where=where,
                expected=self.dtype,
                found=dtype,
                hint=f"Run the same command with --dtype {self.dtype}",
            )
        return Held(space, dtype)
