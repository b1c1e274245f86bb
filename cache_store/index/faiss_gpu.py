"""A FAISS index cloned to a GPU, where this FAISS has been built for one and a GPU is there.

What cannot be had there is searched on the CPU, and the reason is told: a search never fails for
want of a GPU. Graphs (hnsw) stay on the CPU, since FAISS has none for GPUs. This has been tested
against a stand-in for FAISS's few functions; it has not been run on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GPU_KINDS = ("flat", "ivf", "ivfpq")
MOST_ON_GPU = 2048  # neighbours, and cells visited, that FAISS can select among on a GPU
_TEMPORARY_BYTES = 256 << 20  # FAISS would take more than a gigabyte from who trains beside it


@dataclass(frozen=True)
class Clone:
    """An index on a GPU.

    Attributes:
        index: The clone; None if there is none.
        told: Where searches happen, and why: ends the reason of a search.
        resources: Of the GPU; they have to outlive the clone.
    """

    index: Any
    told: str
    resources: Any = None


def clone_to_gpu(faiss: Any, index: Any, kind: str, device: str) -> Clone:
    """Clone an index, or say why that cannot be.

    Args:
        faiss: The module.
        index: On the CPU.
        kind: "flat", "hnsw", "ivf" or "ivfpq".
        device: "cuda" or "cuda:N".
    """
    number = int(device.partition(":")[2] or 0)
    obstacle = obstacle_to_gpu(faiss, kind, number)
    if obstacle:
        return Clone(None, f"on the CPU: {obstacle}")
    try:
        resources = faiss.StandardGpuResources()
        resources.setTempMemory(_TEMPORARY_BYTES)
        clone = faiss.index_cpu_to_gpu(resources, number, index)
    except RuntimeError as error:  # no room, or codes of a size that FAISS lacks there
        line = str(error).split("Error: ")[-1].strip().partition("\n")[0]
        return Clone(None, f"on the CPU: the GPU cannot take this index ({line})")
    return Clone(clone, f"on {device}", resources)


def obstacle_to_gpu(faiss: Any, kind: str, number: int) -> str:
    """Return why an index cannot be searched on GPU `number`; "" if it can."""
    if kind not in GPU_KINDS:
        return f"FAISS has no {kind} for GPUs"
    if not hasattr(faiss, "StandardGpuResources"):
        return "this FAISS is built for the CPU alone (faiss-gpu is in the extra lqtse[gpu])"
    found = faiss.get_num_gpus()
    if number >= found:
        return f"FAISS sees {found} GPUs" if found else "FAISS sees no GPU"
    return ""
