"""Time exact and approximate search against FAISS Flat, numpy, datasets and LanceDB.

    python benchmarks/retrieve.py DATA --rows 100000 1000000 --lancedb-python PATH

DATA is a folder with `esc50_text.parquet` and `esc10_audio.parquet`, each with a column `embedding`
of real vectors of texts and of recordings. Rows are drawn from a gaussian fitted on the texts,
queries from one fitted on the recordings (`vectors.py`), so that the modality gap is there. Each
method runs in a process of its own, one after the other; the table shows the median of the turns
for each size of batch, recall at k against our exact search, the seconds until the first answer,
the peak memory of the process (mapped rows count), and what it holds in the end beside mapped
files. With `--busy` another process keeps a core busy all the while.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from vectors import BLOCK, draw, fit, read_vectors

Search = Callable[[Any], Any]
METHODS = ("lqtse exact", "lqtse ivf", "bf16 product", "FAISS Flat", "numpy", "datasets", "LanceDB")

# Not for longer than this process lives.
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


def make(folder: Path, data: Path, rows: int) -> None:
    """Write rows.npy (float16), queries.npy and learn.npy (float32)."""
    texts, audio = (fit(read_vectors(data / f"{n}.parquet")) for n in ("esc50_text", "esc10_audio"))
    matrix = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float16, (rows, len(texts[0])))
    start = 0
    for block in draw(texts, rows, 0, copies=True):
        matrix[start : start + len(block)] = block
        start += len(block)
    matrix.flush()
    for seed, name in ((1, "queries"), (2, "learn")):
        np.save(folder / f"{name}.npy", np.concatenate(list(draw(audio, 512, seed, copies=False))))


def prepare(method: str, folder: Path, k: int) -> Search:
    """Load the rows as the method likes them, and return its search."""
    matrix = np.load(folder / "rows.npy", mmap_mode="r")
    blocks = [slice(start, start + BLOCK) for start in range(0, len(matrix), BLOCK)]
    if method == "numpy":
        wide = matrix.astype(np.float32)

        def search(queries: Any) -> Any:
            scores = queries @ wide.T
            best = np.argpartition(scores, -k, axis=1)[:, -k:]
            order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
            return np.take_along_axis(best, order, axis=1)

        return search
    if method == "LanceDB":
        import lancedb
        import pyarrow as pa

        def batches() -> Any:
            for part in blocks:
                values = pa.array(matrix[part].astype(np.float32).reshape(-1))
                vectors = pa.FixedSizeListArray.from_arrays(values, matrix.shape[1])
                yield pa.record_batch([vectors], ["vector"])

        schema = pa.schema([("vector", pa.list_(pa.float32(), matrix.shape[1]))])
        reader = pa.RecordBatchReader.from_batches(schema, batches())
        table = lancedb.connect(str(folder / "lance")).create_table(
            "rows", reader, mode="overwrite"
        )

        def ask(queries: Any) -> Any:
            asked: Any = table.search(list(queries))
            found = asked.distance_type("dot").with_row_id(True).limit(k).to_arrow()
            best = np.lexsort((found["_distance"].to_numpy(), found["query_index"].to_numpy()))
            return found["_rowid"].to_numpy()[best].reshape(len(queries), k)

        return ask
    import faiss

    if method == "datasets":
        import datasets
        import pyarrow as pa

        parts = [matrix[part].astype(np.float32) for part in blocks]
        values = [
            pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), matrix.shape[1])
            for part in parts
        ]
        del parts
        held = datasets.Dataset(pa.table({"embedding": pa.chunked_array(values)}))
        held.set_format("numpy", columns=["embedding"])
        # Its default metric is Euclidean, which ranks unit vectors alike.
        held.add_faiss_index("embedding", metric_type=faiss.METRIC_INNER_PRODUCT)
        return lambda queries: np.array(held.search_batch("embedding", queries, k).total_indices)
    if method == "FAISS Flat":
        index = faiss.IndexFlatIP(matrix.shape[1])
        for part in blocks:
            index.add(matrix[part].astype(np.float32))
        return lambda queries: index.search(queries, k)[1]
    import torch

    from cache_store.index.exact import ExactIndex
    from cache_store.retrieval import as_tensor

    rows = as_tensor(matrix)
    if method == "bf16 product":
        half = rows.bfloat16()

        def product(queries: Any) -> Any:
            _ = torch.from_numpy(queries).bfloat16() @ half.T

        return product
    if method == "lqtse exact":
        exact = ExactIndex(rows)
        return lambda queries: exact.search(torch.from_numpy(queries), k)[1].numpy()
    from cache_store.index.cells import fill_cells, train_cells
    from cache_store.index.faiss_index import FaissIndex
    from cache_store.index.reduction import fit_reduction
    from cache_store.index.tuning import breadths, tune

    learn = np.load(folder / "learn.npy")
    chosen = np.random.default_rng(0).choice(len(rows), min(131_072, len(rows)), replace=False)
    sample = matrix[np.sort(chosen)]
    reduction = fit_reduction(sample, learn[::2])
    built = train_cells("ivf", reduction.map_rows(sample), len(rows))
    fill_cells(built, folder / "rows.npy", reduction)
    ours = FaissIndex(built, "ivf", rows, reduction=reduction)
    none = np.empty(0, dtype=np.int64)
    tuned = tune(ours, rows, learn[1::2], breadths("ivf", built), 0.96, own=none)
    print(f"{built.nlist} cells, {tuned.chosen}", file=sys.stderr)
    return lambda queries: ours.search(torch.from_numpy(queries), k)[1].numpy()


def held() -> float:
    """MB of this process's memory that are no mapped file's, so that only it can let go of them."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon"))


def measure(options: argparse.Namespace) -> None:
    """Time one method, and print it as JSON."""
    queries = np.load(options.folder / "queries.npy")
    begin = time.perf_counter()
    search = prepare(options.method, options.folder, options.k)
    search(queries[: options.batch[0]])
    ready, seconds = time.perf_counter() - begin, []
    for batch in options.batch:
        search(queries[:batch])
        taken = []
        for _ in range(options.turns):
            begin = time.perf_counter()
            search(queries[:batch])
            taken.append(time.perf_counter() - begin)
        seconds.append(statistics.median(taken))
    own = held()
    found = search(queries[:256])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "seconds": seconds,
                "ready": ready,
                "memory": memory,
                "own": own,
                "found": None if found is None else found.tolist(),
            }
        )
    )


def compare(options: argparse.Namespace) -> None:
    """Run every method in a process of its own, and print a Markdown table for each size."""
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.scratch) as name:
            make(Path(name), options.data, rows)
            table(options, rows, Path(name))


def table(options: argparse.Namespace, rows: int, folder: Path) -> None:
    """Measure and print one size."""
    batches = "".join(f" ms for {batch} | to FAISS Flat |" for batch in options.batch)
    print(
        f"\n{rows:,} rows, k = {options.k}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}{', a core kept busy' if options.busy else ''}\n\n"
        f"| method |{batches} recall | ready s | peak MB | own MB |\n"
        f"|---|{'---|' * (4 + 2 * len(options.batch))}"
    )
    results = {}
    for method in options.methods:
        python = sys.executable
        if method == "LanceDB":
            if options.lancedb_python is None:
                continue
            python = options.lancedb_python
        command = [python, __file__, *sys.argv[1:], "--method", method, "--folder", str(folder)]
        busy = subprocess.Popen([sys.executable, "-c", BUSY]) if options.busy else None
        try:
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
        results[method] = json.loads(done.stdout)
    flat = results.get("FAISS Flat")
    right = results.get("lqtse exact", {}).get("found")
    for method, result in results.items():
        times = ""
        for number, median in enumerate(result["seconds"]):
            ratio = f"{flat['seconds'][number] / median:.1f}x" if flat else ""
            times += f" {median * 1e3:.1f} | {ratio} |"
        recall = ""
        if result["found"] is not None and right is not None:
            pairs = zip(result["found"], right, strict=False)
            hits = [len(set(mine) & set(its)) / len(its) for mine, its in pairs]
            recall = f"{statistics.mean(hits):.4f}"
        print(
            f"| {method} |{times} {recall} | {result['ready']:.1f} | {result['memory']:.0f} "
            f"| {result['own']:.0f} |",
            flush=True,
        )


def main() -> None:
    """Read the command line, and compare; or, in a process of one method, measure it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with the real vectors")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("-k", type=int, default=8)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--busy", action="store_true", help="keep a core busy all the while")
    parser.add_argument("--lancedb-python", help="a Python that has lancedb; left out without it")
    parser.add_argument("--scratch", help="where to write the rows, 1 to 4 GB")
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method is None:
        compare(options)
    else:
        measure(options)


if __name__ == "__main__":
    main()
