from __future__ import annotations

import pytest

from cache_store.errors import UsageError
from cache_store.index.faiss_build import build

pytest.importorskip("faiss")


@pytest.mark.parametrize("kind", ["lsh", "ivf"])
def test_another_kind_is_named(kind: str) -> None:
    with pytest.raises(UsageError, match=f"expected flat or hnsw, found '{kind}'"):
        build(kind, 16, [])
