"""What `auto` builds and searches on a CPU: all rows while that is quick and fits, else cells.

The exact search is never wrong and needs no index, so it is left only where it costs something:
above `AUTO_EXACT_ROWS`, where batches take longer than in cells, and where memory cannot hold what
it reads for every search. Cells become codes where memory cannot hold the rows in them.

Letters: N rows, D embedding size, R reduced size.
"""

from __future__ import annotations

from cache_store.index.reduction import REDUCED_DIM

# Measured (benchmarks/README.md): here 64 queries take as long in cells, and one takes 14 ms.
AUTO_EXACT_ROWS = 300_000
RESIDENT_BYTES = 2 << 30  # what a form of the rows made for the exact search may take
_SHARE = 0.5  # of the free memory; the rest is for who trains beside it
_ID_BYTES = 8  # of a row in a cell
_CODED = 2  # reduced values that become one byte


def suits(rows: int, dim: int, itemsize: int, memory: int) -> tuple[str, str]:
    """Return the kind of search that suits a cache on a CPU with FAISS, and why.

    Args:
        rows: N.
        dim: D.
        itemsize: Bytes of a stored value.
        memory: Bytes that are free.

    Returns:
        "exact", "ivf" or "ivfpq".
    """
    room = int(_SHARE * memory)
    exact, cells = needed("exact", rows, dim, itemsize), needed("ivf", rows, dim, itemsize)
    if rows > AUTO_EXACT_ROWS:
        why = f"{rows:,} captions are many for an exact search on a CPU"
    elif exact <= room:
        return "exact", f"{rows:,} captions are few enough to search all of them"
    else:
        why = f"searching all {rows:,} captions needs {_more_than_half(exact, memory)}"
    if cells <= room:
        return "ivf", why
    return "ivfpq", f"{why}; cells of whole rows would need {_more_than_half(cells, memory)}"


def needed(kind: str, rows: int, dim: int, itemsize: int) -> int:
    """Return the bytes of memory that a kind reads again and again, and so needs to be quick.

    Args:
        kind: "exact": the matrix and the form of it that is multiplied, at most; "ivf", "ivfpq":
            the reduced rows or their codes, with their numbers. Of the matrix these read a few rows
            for each query.
        rows: N.
        dim: D.
        itemsize: Bytes of a stored value.
    """
    if kind == "exact":
        return rows * dim * itemsize + min(4 * rows * dim, RESIDENT_BYTES)
    reduced = min(dim, REDUCED_DIM)
    vector = 4 * reduced if kind == "ivf" else -(-reduced // _CODED)
    return rows * (vector + _ID_BYTES)


def _more_than_half(taken: int, free: int) -> str:
    return f"{_spelled(taken)}, more than half of the {_spelled(free)} of memory that are free"


def _spelled(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
