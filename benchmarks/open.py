"""Time opening a large cache and its first searches, and the memory that they take.

    python benchmarks/open.py DATA --rows 1000000

Makes a cache of as many captions as are asked for, with vectors drawn as for `retrieve.py` (DATA is
the same folder); then a process of its own opens it and searches it exactly, and prints after each
step the seconds and the resident memory: all of it, and without the pages of mapped files, which
the system takes back when it needs them. The files are in the system's file cache. Linux only, for
/proc.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from vectors import draw, fit, read_vectors

FILE_ROWS = 16_384  # as `lqtse-cache import` and `generate` write them


def make(folder: Path, data: Path, rows: int, removed: int) -> None:
    """Write the cache file by file, so that memory is one file's; remove some captions."""
    import pyarrow as pa

    from cache_store.index.build import build_index
    from cache_store.manifest import named_space
    from cache_store.shards import from_matrix
    from cache_store.text import caption_id
    from cache_store.writer import open_writer

    fitted = fit(read_vectors(data / "esc50_text.parquet"))
    space = named_space("drawn", len(fitted[0]))
    with open_writer(folder) as writer:
        captions, files, ids = [], [], []
        for number, start in enumerate(range(0, rows, FILE_ROWS)):
            count = min(FILE_ROWS, rows - start)
            texts = [f"sound number {start + i} of a street by night" for i in range(count)]
            table = pa.table(
                {
                    "id": [caption_id(text) for text in texts],
                    "caption": texts,
                    "concepts": [["street"]] * count,
                    "axes": ["{}"] * count,
                    "model": ["none"] * count,
                    "request_id": [f"request-{start + i}" for i in range(count)],
                }
            )
            listed = writer.write_captions(table)
            vectors = np.concatenate(list(draw(fitted, count, number, copies=True)))
            embedded = table.append_column("embedding", from_matrix(vectors.astype(np.float16)))
            captions.append(listed)
            files.append(writer.write_data(embedded, space, listed.sha256))
            ids.extend(table["id"].to_pylist()[: -(-removed * count // rows)])
        changes: dict[str, Any] = {"tombstones": sorted(ids)} if ids else {}
        writer.publish(captions=captions, data=files, step={"step": "drawn"}, **changes)
        build_index(writer, "exact")


def resident() -> tuple[float, float]:
    """Resident memory in MB, and that without mapped files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
    whole, own = (int(values[name][0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return whole, own


def measure(folder: Path, queries: Any, turns: int) -> None:
    """Open and search, and print a Markdown table."""
    print("| | s | MB resident | without mapped files |\n|---|---|---|---|")
    begin = time.perf_counter()

    def report(what: str) -> None:
        nonlocal begin
        seconds = time.perf_counter() - begin
        whole, own = resident()
        print(f"| {what} | {seconds:.3f} | {whole:.0f} | {own:.0f} |", flush=True)
        begin = time.perf_counter()

    from cache_store import open_cache

    report("importing")
    cache = open_cache(folder)
    report(f"opening {cache.manifest.rows:,} captions")
    _ = len(cache), cache.embeddings.shape
    report("their number and embeddings")
    cache.search(queries[:1], kind="exact")
    report("first search, one query, importing torch")
    for count in (1, len(queries)):
        for turn in range(turns):
            cache.search(queries[:count], kind="exact")
            if turn in (0, turns - 1):
                report(f"search {turn + 1} of {count}")
            begin = time.perf_counter()


def main() -> None:
    """Read the command line; make the cache, then measure in a new process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with the real vectors")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--removed", type=int, default=0, help="captions to remove")
    parser.add_argument("--queries", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--scratch", help="where to write the cache, 3 GB for a million rows")
    parser.add_argument("--made", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.made is not None:
        measure(options.made, np.load(options.made.parent / "queries.npy"), options.turns)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name) / "cache"
        fitted = fit(read_vectors(options.data / "esc10_audio.parquet"))
        asked = np.concatenate(list(draw(fitted, options.queries, 1, copies=False)))
        np.save(folder.parent / "queries.npy", asked)
        begin = time.perf_counter()
        make(folder, options.data, options.rows, options.removed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"made in {time.perf_counter() - begin:.0f} s, at most {peak:.0f} MB resident\n")
        sys.stdout.flush()
        command = [sys.executable, __file__, *sys.argv[1:], "--made", str(folder)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
