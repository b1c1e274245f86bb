"""A set of caption ids in sorted blocks of bytes: 32 MB for a million, where a set takes 120."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

_KIND = "S32"


class IdSet:
    """Ids of captions, as they are in the files: 32 hexadecimal characters."""

    def __init__(self) -> None:
        self._ids: np.ndarray[Any, Any] = np.empty(0, dtype=_KIND)

    def __len__(self) -> int:
        return len(self._ids)

    def has(self, ids: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return for each id whether it is in the set, bool [N]."""
        wanted = _array(ids)
        if not len(self._ids):
            return np.zeros(len(wanted), dtype=np.bool_)
        place = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1)
        found: np.ndarray[Any, np.dtype[np.bool_]] = self._ids[place] == wanted
        return found

    def add(self, ids: pa.ChunkedArray) -> None:
        """Put ids into the set; none of them may be there."""
        # Both parts are long runs in order, which a stable sort only merges.
        joined = np.concatenate([self._ids, np.sort(_array(ids))])
        self._ids = np.sort(joined, kind="stable")


def _array(ids: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    return np.array(ids.to_pylist(), dtype=_KIND)
