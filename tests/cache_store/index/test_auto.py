from __future__ import annotations

import pytest

from cache_store.index.auto import AUTO_EXACT_ROWS, needed, suits

GB = 10**9


@pytest.mark.parametrize(
    ("rows", "memory", "kind"),
    [
        (1000, 16 * GB, "exact"),
        (AUTO_EXACT_ROWS, 16 * GB, "exact"),
        (AUTO_EXACT_ROWS + 1, 16 * GB, "ivf"),
        (1_000_000, 16 * GB, "ivf"),
        (200_000, 1 * GB, "ivf"),  # 0.6 GB of matrix and codes, of half a gigabyte
        (100_000_000, 16 * GB, "ivfpq"),  # cells of 20 GB
        (200_000, 50_000_000, "ivfpq"),
        (200_000, 0, "ivfpq"),
    ],
)
def test_rows_and_memory_decide(rows: int, memory: int, kind: str) -> None:
    assert suits(rows, 512, 2, memory)[0] == kind


def test_it_says_why() -> None:
    assert suits(1000, 512, 2, 16 * GB)[1] == "1,000 captions are few enough to search all of them"
    many = "1,000,000 captions are many for an exact search on a CPU"
    assert suits(1_000_000, 512, 2, 16 * GB)[1] == many
    assert suits(1_000_000, 512, 2, GB // 4)[1] == (
        f"{many}; cells of whole rows would need 200 MB, more than half of the 250 MB of memory "
        "that are free"
    )
    assert suits(200_000, 512, 2, GB)[1] == (
        "searching all 200,000 captions needs 614 MB, more than half of the 1.0 GB of memory that "
        "are free"
    )


def test_what_each_kind_needs_by_hand() -> None:
    # float16 values; a float32 copy while that is at most 2 GiB.
    assert needed("exact", 100_000, 512, 2) == 100_000 * 512 * (2 + 4)
    assert needed("exact", 10_000_000, 512, 2) == 10_000_000 * 1024 + 2 * 1024**3
    assert needed("ivf", 1000, 512, 2) == 1000 * (48 * 4 + 8)  # reduced to 48 values, and a number
    assert needed("ivf", 1000, 16, 2) == 1000 * (16 * 4 + 8)  # short vectors are not reduced
    assert needed("ivfpq", 1000, 512, 2) == 1000 * (24 + 8)
