from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.errors import DamagedError
from cache_store.index.reduction import Reduction, fit_reduction, read_reduction

DIM = 96


def clouds(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows spread in all directions; queries that look in ten of them, off to one side."""
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((n, DIM)) + 2 * np.eye(DIM)[0]
    queries = generator.standard_normal((200, DIM)) * np.where(np.arange(DIM) >= 86, 1.0, 0.02)
    queries -= 0.5 * np.eye(DIM)[0]
    return rows.astype(np.float32), queries.astype(np.float32)


def test_products_with_the_queries_survive_but_for_a_constant() -> None:
    rows, queries = clouds(3000, 0)
    reduction = fit_reduction(rows[:1500], queries[:100], 16)
    true = queries[100:] @ (rows[1500:] - reduction.mean).T
    found = reduction.map_queries(queries[100:]) @ reduction.map_rows(rows[1500:]).T
    # Ten directions and the offset fit into 16 values; what is left is the queries' 2 % elsewhere.
    assert np.corrcoef(true.ravel(), found.ravel())[0, 1] > 0.99
    ordinary = rows[1500:] - reduction.mean
    _, vectors = np.linalg.eigh(np.cov(ordinary.T))
    plain = (queries[100:] @ vectors[:, -16:]) @ (ordinary @ vectors[:, -16:]).T
    assert np.corrcoef(true.ravel(), plain.ravel())[0, 1] < 0.9  # what the rows alone would choose


def test_all_dimensions_kept_change_nothing() -> None:
    rows, queries = clouds(400, 1)
    reduction = fit_reduction(rows, queries, DIM)
    true = queries @ (rows - reduction.mean).T
    found = reduction.map_queries(queries) @ reduction.map_rows(rows).T
    np.testing.assert_allclose(found, true, atol=1e-3)  # float32 sums of about 100 values


def test_it_goes_to_disk_and_back(tmp_path: Path) -> None:
    reduction = fit_reduction(*clouds(300, 2), 7)
    np.save(tmp_path / "maps.npy", reduction.to_array())
    again = read_reduction(tmp_path / "maps.npy", DIM)
    for name in ("rows", "queries", "mean"):
        np.testing.assert_array_equal(getattr(again, name), getattr(reduction, name))
    assert isinstance(again, Reduction)
    assert (again.dim, again.rows.shape, again.queries.shape) == (7, (DIM, 7), (DIM, 7))


@pytest.mark.parametrize("damage", ["cut", "width", "even"])
def test_another_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "maps.npy"
    array = np.zeros((15, DIM), dtype=np.float32)
    np.save(path, {"width": array[:, :-1], "even": array[:-1]}.get(damage, array))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedError):
        read_reduction(path, DIM)
