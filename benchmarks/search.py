"""Time exact search against FAISS Flat and a plain numpy product, on synthetic unit vectors.

    python benchmarks/search.py --rows 100000 --dim 512 --batch 1 16 64 -k 8

Every method gets the same float16 rows, as a cache stores them, and the same float32 queries, and
has loaded them in the form it likes best before the clock starts. Each runs in processes of its
own, since the waiting threads of one library slow another down; the processes take turns, so that
other load on the machine meets all of them, and the median over all turns is shown. If a method
finds other rows than ours, the run fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cache_store.index import faiss_index
from cache_store.index.exact import ExactIndex

Search = Callable[[Any], Any]


def unit_rows(count: int, dim: int, seed: int) -> Any:
    """Random unit vectors, float16 [count, dim]."""
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((count, dim), dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix.astype(np.float16)


def numpy_search(matrix: Any, k: int) -> Search:
    """A product, a partial sort, and a sort of what is left: what one writes by hand."""
    wide = matrix.astype(np.float32)

    def search(queries: Any) -> Any:
        scores = queries @ wide.T
        best = np.argpartition(-scores, k, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        return np.take_along_axis(best, order, axis=1)

    return search


def torch_search(matrix: Any, k: int) -> Search:
    """The product and `topk` over the whole of it, without blocks or exact ties."""
    wide = torch.from_numpy(matrix.astype(np.float32))

    def search(queries: Any) -> Any:
        return (torch.from_numpy(queries) @ wide.T).topk(k, dim=1).indices.numpy()

    return search


def exact_search(matrix: Any, k: int) -> Search:
    """Ours."""
    index = ExactIndex(torch.from_numpy(matrix))

    def search(queries: Any) -> Any:
        return index.search(torch.from_numpy(queries), k)[1].numpy()

    return search


def faiss_search(matrix: Any, k: int) -> Search:
    """FAISS Flat as its users call it."""
    index = faiss_index.build("flat", matrix.shape[1], [matrix.astype(np.float32)])

    def search(queries: Any) -> Any:
        return index.search(queries, k)[1]

    return search


METHODS: dict[str, Callable[[Any, int], Search]] = {
    "lqtse exact": exact_search,
    "FAISS Flat": faiss_search,
    "numpy": numpy_search,
    "torch, one product": torch_search,
}


def measure(options: argparse.Namespace) -> None:
    """Time one method; print, for each batch, its seconds and the rows it found, as JSON."""
    matrix = unit_rows(options.rows, options.dim, seed=0)
    search = METHODS[options.method](matrix, options.k)
    for batch in options.batch:
        queries = unit_rows(batch, options.dim, seed=1).astype(np.float32)
        rows, seconds = search(queries), []
        for _ in range(options.turns):
            begin = time.perf_counter()
            search(queries)
            seconds.append(time.perf_counter() - begin)
        print(json.dumps({"batch": batch, "seconds": seconds, "rows": rows.tolist()}))


def compare(options: argparse.Namespace) -> int:
    """Run every method in processes of its own, and print a Markdown table."""
    seconds: dict[tuple[int, str], list[float]] = {}
    found: dict[tuple[int, str], Any] = {}
    for _ in range(options.rounds):
        for name in METHODS:
            command = [sys.executable, __file__, *sys.argv[1:], "--method", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            for line in map(json.loads, done.stdout.splitlines()):
                seconds.setdefault((line["batch"], name), []).extend(line["seconds"])
                found[line["batch"], name] = np.array(line["rows"])
    print(
        f"{options.rows:,} rows x {options.dim}, k = {options.k}, "
        f"{options.rounds} x {options.turns} turns, {torch.get_num_threads()} threads, "
        f"load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, "
        f"Python {platform.python_version()}\n\n"
        "| queries | method | ms | against FAISS Flat |\n|---|---|---|---|"
    )
    for batch, name in sorted(seconds, key=lambda key: key[0]):
        taken = seconds[batch, name]
        # float32 products may swap two rows whose scores differ by less than their error.
        if np.mean(found[batch, name] == found[batch, "lqtse exact"]) < 0.999:
            print(f"{name} found other rows", file=sys.stderr)
            return 1
        ratio = statistics.median(seconds[batch, "FAISS Flat"]) / statistics.median(taken)
        print(f"| {batch} | {name} | {statistics.median(taken) * 1e3:.1f} | {ratio:.2f}x as fast |")
    return 0


def main() -> int:
    """Read the command line, and compare; or, in a process of one method, measure it."""
    parser = argparse.ArgumentParser(description="Time exact search, FAISS Flat and numpy.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("-k", type=int, default=8)
    parser.add_argument("--turns", type=int, default=7, help="searches in one process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each method")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method is None:
        return compare(options)
    measure(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
