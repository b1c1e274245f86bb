"""The kinds of FAISS index that are built here, and FAISS itself where it is installed.

flat: every row. hnsw: a graph. ivf: cells. ivfpq: cells of codes.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from cache_store.errors import MissingDependencyError

FAISS_KINDS = ("flat", "hnsw", "ivf", "ivfpq")
CELLS = ("ivf", "ivfpq")
APPROXIMATE = ("hnsw", *CELLS)
# FAISS's own defaults for M and the build, from its HNSW example; a wider search costs little and
# recall is measured when the index is built.
HNSW_PARAMS = {"m": 32, "ef_construction": 200, "ef_search": 128}
BREADTH = {"hnsw": "ef_search", "ivf": "nprobe", "ivfpq": "nprobe"}  # what is tuned
# Rows that an approximate index names at least; the stored vectors decide among them.
SHORTLIST = 64
_NAMES = {
    "IndexFlatIP": "flat",
    "IndexFlat": "flat",
    "IndexHNSWFlat": "hnsw",
    "IndexIVFFlat": "ivf",
    "IndexIVFPQ": "ivfpq",
}


def kind_of(index: Any) -> str:
    """Return one of `FAISS_KINDS`, or FAISS's name of another kind."""
    name = type(index).__name__
    return _NAMES.get(name, name)


def faiss_installed() -> bool:
    """Whether FAISS can be imported here."""
    return importlib.util.find_spec("faiss") is not None


def load_faiss() -> Any:
    """Import FAISS.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "FAISS is not installed",
            hint="pip install 'lqtse[cpu]' (or 'lqtse[gpu]'), or search with --kind exact",
        ) from error
    return faiss
