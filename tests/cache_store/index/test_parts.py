"""An IVF index filled in parts is the one that is filled file by file, byte for byte."""

from __future__ import annotations

import pickle
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from cache_store.errors import DamagedError
from cache_store.index.parts import PartJob, PartMaker, fill_ivf
from cache_store.manifest import FileEntry, newest_manifest
from tests.cache_store.builders import DIM, add_step

ROWS = 900


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of 900 rows in files of 250, 250, 250 and 150."""
    folder = tmp_path_factory.mktemp("parts")
    for first in range(0, ROWS, 250):
        add_step(folder, min(250, ROWS - first), first)
    (folder / "index").mkdir(exist_ok=True)
    return folder


def data_of(cache: Path) -> tuple[FileEntry, ...]:
    manifest = newest_manifest(cache)
    assert manifest is not None and len(manifest.data) == 4
    return manifest.data


def matrix(cache: Path) -> np.ndarray[Any, Any]:
    from cache_store.cache import open_cache

    with open_cache(cache) as store:
        return np.array(store.embeddings, dtype=np.float32)


def trained(cache: Path, kind: str) -> Any:
    faiss.omp_set_num_threads(1)
    index = faiss.index_factory(DIM, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(matrix(cache))
    return index


def shuffled(maker: PartMaker, jobs: Sequence[PartJob]) -> None:
    """Makes parts out of order, each by a worker that got the maker through a pipe."""
    order = list(jobs)
    random.Random(3).shuffle(order)
    assert order != list(jobs)
    for job in order:
        pickle.loads(pickle.dumps(maker)).prepare()(job)


@pytest.mark.parametrize("kind", ["IVF20,Flat", "IVF20,PQ4x4"])
def test_parts_make_the_index_of_one_process(cache: Path, kind: str) -> None:
    data = data_of(cache)
    one = fill_ivf(trained(cache, kind), cache, data)
    parts = fill_ivf(trained(cache, kind), cache, data, shuffled)
    assert parts.ntotal == ROWS
    np.testing.assert_array_equal(faiss.serialize_index(one), faiss.serialize_index(parts))
    # And both are FAISS's own of all rows at once, ids included.
    whole = trained(cache, kind)
    whole.add(matrix(cache))
    whole.nprobe = parts.nprobe = 5
    rows = matrix(cache)[::37]
    np.testing.assert_array_equal(whole.search(rows, 5)[1], parts.search(rows, 5)[1])
    assert not list((cache / "index").iterdir())


def test_a_part_that_is_not_whole_is_refused(cache: Path) -> None:
    def lazy(maker: PartMaker, jobs: Sequence[PartJob]) -> None:
        shuffled(maker, jobs)
        Path(jobs[1].target).write_bytes(Path(jobs[3].target).read_bytes())

    with pytest.raises(DamagedError, match=r"expected 250 rows, found 150"):
        fill_ivf(trained(cache, "IVF20,Flat"), cache, data_of(cache), lazy)
    assert not list((cache / "index").iterdir())
