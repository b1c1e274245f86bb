"""Which index is searched where, told by a stand-in for the few functions of FAISS that matter."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cache_store.cache import open_cache
from cache_store.index import faiss_gpu
from cache_store.index.faiss_build import build
from cache_store.index.faiss_gpu import Clone, clone_to_gpu
from cache_store.index.faiss_index import FaissIndex
from tests.cache_store.builders import unit_rows

pytest.importorskip("faiss")


class Resources:
    """Of a GPU."""

    reserved = 0

    def setTempMemory(self, count: int) -> None:
        self.reserved = count


def fake(gpus: int = 1, fault: str = "") -> Any:
    """A FAISS with GPUs: a clone is the index itself beside the GPU's number."""

    def clone(resources: Resources, number: int, index: Any) -> Any:
        if fault:
            raise RuntimeError(fault)
        return number, index

    return SimpleNamespace(
        StandardGpuResources=Resources, get_num_gpus=lambda: gpus, index_cpu_to_gpu=clone
    )


@pytest.mark.parametrize("kind", ["flat", "ivf", "ivfpq"])
@pytest.mark.parametrize(("device", "number"), [("cuda", 0), ("cuda:1", 1)])
def test_it_is_cloned_to_the_gpu_that_was_asked_for(kind: str, device: str, number: int) -> None:
    done = clone_to_gpu(fake(2), "index", kind, device)
    assert done.index == (number, "index")
    assert done.told == f"on {device}"
    assert done.resources.reserved == 256 << 20


@pytest.mark.parametrize(
    ("faiss", "kind", "device", "why"),
    [
        (fake(), "hnsw", "cuda", "FAISS has no hnsw for GPUs"),
        (SimpleNamespace(get_num_gpus=lambda: 0), "ivf", "cuda", "built for the CPU alone"),
        (fake(0), "ivf", "cuda", "FAISS sees no GPU"),
        (fake(1), "ivf", "cuda:1", "FAISS sees 1 GPUs"),
        (
            fake(fault="Error in x at y.cu:1: Error: 'nbits == 8' failed: no such codes\nmore"),
            *("ivfpq", "cuda", "cannot take this index ('nbits == 8' failed: no such codes)"),
        ),
    ],
)
def test_what_cannot_be_had_is_said(faiss: Any, kind: str, device: str, why: str) -> None:
    done = clone_to_gpu(faiss, "index", kind, device)
    assert done.index is None
    assert done.told.startswith("on the CPU: ") and why in done.told


class Counting:
    """An index that counts its searches."""

    def __init__(self, index: Any) -> None:
        self.index, self.searches = index, 0

    def search(self, *args: Any, **options: Any) -> Any:
        self.searches += 1
        return self.index.search(*args, **options)


def test_a_list_wider_than_a_gpu_can_make_comes_from_the_cpu() -> None:
    matrix = unit_rows(3000, 16)
    cpu = Counting(build("flat", 16, [matrix.astype("f4")]))
    gpu = Counting(cpu.index)
    index = FaissIndex(cpu, "flat", torch.from_numpy(matrix), gpu=Clone(gpu, "on cuda"))
    assert index.place == "on cuda"
    queries = torch.from_numpy(unit_rows(2, 16, seed=1, dtype="float32"))
    narrow = index.search(queries, 5)[1]
    assert (cpu.searches, gpu.searches) == (0, 1)
    wide = index.search(queries, faiss_gpu.MOST_ON_GPU)[1]
    assert (cpu.searches, gpu.searches) == (1, 1)
    assert torch.equal(wide[:, :5], narrow)


def test_a_search_without_a_gpu_says_where_it_happened(indexed_path: Path) -> None:
    import faiss

    if hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this FAISS has GPU support")
    query = unit_rows(1, dtype="float32")
    with open_cache(indexed_path) as cache:
        expected = cache.search(query, k=3, kind="flat", device="cpu")
        assert expected.reason == "asked for"
        for kind, why in (("flat", "built for the CPU alone"), ("hnsw", "no hnsw for GPUs")):
            hits = cache.search(query, k=3, kind=kind, device="cuda")
            assert hits.reason.startswith("asked for, on the CPU: ") and why in hits.reason
            assert (hits.rows == expected.rows).all()
