from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache_store.errors import DamagedError
from cache_store.index.cells import fill_cells, train_cells
from cache_store.index.faiss_build import build
from cache_store.index.faiss_files import read_index, vectors_of, writer_of
from cache_store.index.kinds import FAISS_KINDS, kind_of
from tests.cache_store.builders import unit_rows

faiss = pytest.importorskip("faiss")
ROWS, DIM = 600, 16


def built(kind: str, folder: Path) -> Any:
    matrix = unit_rows(ROWS, DIM)
    if kind in ("flat", "hnsw"):
        return build(kind, DIM, [matrix[:100].astype("f4"), matrix[100:].astype("f4")])
    np.save(folder / "rows.npy", matrix)
    index = train_cells(kind, matrix.astype("f4"), ROWS)
    fill_cells(index, folder / "rows.npy", None)
    index.nprobe = 4
    return index


@pytest.mark.parametrize("kind", FAISS_KINDS)
@pytest.mark.parametrize("mapped", [False, True])
def test_an_index_goes_to_disk_and_back(tmp_path: Path, kind: str, mapped: bool) -> None:
    index = built(kind, tmp_path)
    path = tmp_path / "a.faiss"
    writer_of(index)(path)
    again = read_index(path, size=path.stat().st_size if mapped else None)
    assert kind_of(again) == kind and again.ntotal == ROWS
    queries = unit_rows(30, DIM, seed=1, dtype="float32")
    for one, two in zip(again.search(queries, 9), index.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, two)
    if kind != "ivfpq":
        np.testing.assert_array_equal(
            vectors_of(again, 10, 5).astype("f2"), unit_rows(ROWS, DIM)[10:15]
        )


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_a_mapped_file_is_not_read_into_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.faiss"
    writer_of(built(kind, tmp_path))(path)
    index = read_index(path, size=path.stat().st_size)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux lists what a process maps")
    assert str(path) in maps.read_text()
    del index
    assert str(path) not in maps.read_text()


@pytest.mark.parametrize("kind", FAISS_KINDS)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_cut_file_is_damaged_wherever_it_is_cut(tmp_path: Path, kind: str, mapped: bool) -> None:
    path = tmp_path / "a.faiss"
    writer_of(built(kind, tmp_path))(path)
    whole = path.read_bytes()
    for size in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedError, match=r"damaged|has changed"):
            read_index(path, size=len(whole) if mapped else None)
        if mapped and size < len(whole) - 64:  # FAISS notices itself, but for the very end
            with pytest.raises(DamagedError, match="an index file is damaged"):
                read_index(path, size=int(size))


def test_a_faiss_that_cannot_map_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.faiss"
    writer_of(built("flat", tmp_path))(path)
    monkeypatch.delattr(faiss, "IO_FLAG_MMAP_IFC")
    assert read_index(path, size=path.stat().st_size).ntotal == ROWS


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="an index file is damaged"):
        read_index(tmp_path / "none.faiss", size=100)
