"""Cells filled in parts are those that one process fills, byte for byte."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache_store.errors import DamagedError
from cache_store.index import cells
from cache_store.index.cells import fill_cells, train_cells
from cache_store.index.faiss_files import read_index
from cache_store.index.parts import PartJob, PartMaker
from cache_store.index.reduction import Reduction, fit_reduction
from tests.cache_store.builders import unit_rows

faiss = pytest.importorskip("faiss")

ROWS, DIM = 900, 32


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cells") / "rows.npy"
    np.save(path, unit_rows(ROWS, DIM))
    return path


@pytest.fixture(autouse=True)
def four_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 125 rows, parts of 250, 250, 250 and 150."""
    monkeypatch.setattr(cells, "BLOCK_ROWS", 125)
    monkeypatch.setattr(cells, "PART_ROWS", 250)


def trained(matrix: Path, kind: str, dim: int | None = None) -> tuple[Any, Reduction | None]:
    sample = np.load(matrix).astype(np.float32)
    if dim is None:
        return train_cells(kind, sample, ROWS), None
    reduction = fit_reduction(sample, unit_rows(50, DIM, seed=1, dtype="float32"), dim)
    return train_cells(kind, reduction.map_rows(sample), ROWS), reduction


def shuffled(maker: PartMaker, jobs: Sequence[PartJob]) -> None:
    """Makes parts out of order, each by a worker that got the maker through a pipe."""
    order = list(jobs)
    random.Random(3).shuffle(order)
    assert order != list(jobs)
    for job in order:
        pickle.loads(pickle.dumps(maker)).prepare()(job)


@pytest.mark.parametrize("kind", ["ivf", "ivfpq"])
@pytest.mark.parametrize("dim", [None, 8])
def test_parts_make_the_index_of_one_process(matrix: Path, kind: str, dim: int | None) -> None:
    one, reduction = trained(matrix, kind, dim)
    fill_cells(one, matrix, reduction)
    parts, again = trained(matrix, kind, dim)
    fill_cells(parts, matrix, again, shuffled)
    assert parts.ntotal == ROWS
    np.testing.assert_array_equal(faiss.serialize_index(one), faiss.serialize_index(parts))
    assert [path.name for path in matrix.parent.iterdir()] == ["rows.npy"]


def test_each_row_lies_in_the_cell_whose_centre_is_nearest(matrix: Path) -> None:
    index, _ = trained(matrix, "ivf")
    fill_cells(index, matrix, None, shuffled)
    rows = np.load(matrix).astype(np.float64)
    centres = index.quantizer.reconstruct_n(0, index.nlist).astype(np.float64)
    distances = ((rows[:, None] - centres) ** 2).sum(axis=2)
    index.make_direct_map()
    cell = np.array([index.direct_map.get(row) >> 32 for row in range(ROWS)])
    # FAISS sums in float32: where two centres are as near as that, either may be taken.
    assert (distances[np.arange(ROWS), cell] <= distances.min(axis=1) + 1e-5).all()
    np.testing.assert_array_equal(index.reconstruct_n(0, ROWS), rows.astype(np.float32))


def test_a_part_that_is_not_whole_is_refused(matrix: Path) -> None:
    def lazy(maker: PartMaker, jobs: Sequence[PartJob]) -> None:
        shuffled(maker, jobs)
        Path(jobs[1].target).write_bytes(Path(jobs[3].target).read_bytes())

    with pytest.raises(DamagedError, match=r"expected 250 rows, found 150"):
        fill_cells(trained(matrix, "ivf")[0], matrix, None, lazy)
    assert [path.name for path in matrix.parent.iterdir()] == ["rows.npy"]


def test_cells_grow_with_the_root_of_the_rows_as_far_as_the_sample_goes() -> None:
    assert cells.cells_for(1_000_000, 131_072) == 2000
    assert cells.cells_for(100_000_000, 131_072) == 131_072 // 30
    assert cells.cells_for(1, 1) == 1


def test_a_trained_index_holds_no_rows(matrix: Path, tmp_path: Path) -> None:
    index, _ = trained(matrix, "ivfpq")
    assert index.is_trained and index.ntotal == 0
    faiss.write_index(index, str(tmp_path / "empty.faiss"))
    assert read_index(tmp_path / "empty.faiss").nlist == index.nlist
